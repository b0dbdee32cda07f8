use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use thiserror::Error;

use crate::text::one_line;

const SYSTEM_LIBRARY: &str = "libonnxruntime.so";
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// ONNX Runtime has one environment per process, which cannot be built a second time.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// ONNX Runtime, loaded. A process loads it once: later loads return the same library.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// Where a program may have ONNX Runtime's library.
#[derive(Clone, Debug, Default)]
pub struct LibraryPaths {
    /// The path that the user configured. It comes before the variable `ORT_DYLIB_PATH`.
    pub configured: Option<PathBuf>,
    /// The library that is installed with the program. It comes after that variable, and before the
    /// system's library.
    pub bundled: Option<PathBuf>,
}

/// ONNX Runtime could not be loaded.
#[derive(Debug, Error)]
#[error("cannot load ONNX Runtime from {library} ({origin}): {cause}; {}", origin.way_out())]
pub struct RuntimeError {
    library: String,
    origin: Origin,
    cause: LoadError,
}

#[derive(Debug, Error)]
enum LoadError {
    #[error("no such file")]
    NoSuchFile,
    /// The message of the system's loader, or of ONNX Runtime.
    #[error("{0}")]
    Library(String),
}

/// What names the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Settings,
    Variable,
    Bundled,
    System,
}

impl Origin {
    fn way_out(self) -> &'static str {
        match self {
            Self::Settings => {
                "correct that setting, or leave it out to use the library that comes with Moliceiro"
            }
            Self::Variable => {
                "correct that variable, or unset it to use the library that comes with Moliceiro"
            }
            Self::Bundled => "reinstall Moliceiro, or run `make setup` in its checkout",
            Self::System => {
                "Moliceiro is installed without one: run `make setup` in its checkout, or set \
                 ORT_DYLIB_PATH to the path of a libonnxruntime.so"
            }
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settings => "named by the settings",
            Self::Variable => "named by ORT_DYLIB_PATH",
            Self::Bundled => "installed with Moliceiro",
            Self::System => "the system's own",
        })
    }
}

impl Runtime {
    /// Loads the library that is configured; else the one that `ORT_DYLIB_PATH` names; else the
    /// bundled one; else the system's.
    ///
    /// Only the first of these that is named is tried: a wrong path is an error, not a reason to
    /// use another library.
    pub fn load(paths: &LibraryPaths) -> Result<Self, RuntimeError> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        let (library, origin) = choose(paths, variable);
        let failed = |cause| RuntimeError { library: library.display().to_string(), origin, cause };
        let rejected = |message: String| failed(LoadError::Library(one_line(&message)));
        // Once a library is loaded, `init_from` accepts any path.
        if origin != Origin::System && !library.is_file() {
            return Err(failed(LoadError::NoSuchFile));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        let environment = ort::init_from(&library)
            .map_err(|error| rejected(error.to_string()))?
            .with_name("moliceiro")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| rejected(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        Ok(loaded.insert(Self { environment, library }).clone())
    }

    /// Where the library was found.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The library's version, such as `1.32.0`: its file names it. Reads that file.
    pub fn version(&self) -> Option<String> {
        version_in(&std::fs::read(&self.library).ok()?)
    }

    /// The library's description of its own build.
    pub fn description(&self) -> &'static str {
        ort::info()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// ONNX Runtime's own log. A failure is returned as an error too; the log helps to find its cause.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => {
            tracing::warn!(target: "onnxruntime", category, location, "{message}")
        }
        _ => tracing::debug!(target: "onnxruntime", category, location, "{message}"),
    }
}

/// The version of the symbols that the library defines, such as `VERS_1.32.0`.
fn version_in(library: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"\0VERS_";
    const LONGEST: usize = 32;
    let at = library.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let rest = library.get(at..)?;
    let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
    let version = std::str::from_utf8(&rest[..end]).ok()?;
    version.chars().all(|c| c.is_ascii_digit() || c == '.').then(|| version.to_owned())
}

fn choose(paths: &LibraryPaths, variable: Option<OsString>) -> (PathBuf, Origin) {
    // ort resolves a relative path against the program's folder; users mean the current folder.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (&paths.configured, variable, &paths.bundled) {
        (Some(path), _, _) => (absolute(path), Origin::Settings),
        (None, Some(path), _) => (absolute(Path::new(&path)), Origin::Variable),
        (None, None, Some(path)) => (path.clone(), Origin::Bundled),
        (None, None, None) => (PathBuf::from(SYSTEM_LIBRARY), Origin::System),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_symbols() {
        assert_eq!(version_in(b"ELF\0a\0VERS_1.32.0\0b").as_deref(), Some("1.32.0"));
        for other in [&b""[..], b"\0VERS_", b"\0VERS_1.3", b"\0VERS_%s\0", b"VERS_1\0"] {
            assert_eq!(version_in(other), None);
        }
    }

    #[test]
    fn the_settings_win_then_the_variable_then_the_bundled_library_then_the_system() {
        let path = |path: &str| Some(PathBuf::from(path));
        let variable = || Some(OsString::from("/b.so"));
        let choice = |configured: Option<PathBuf>, variable, bundled: Option<PathBuf>| {
            choose(&LibraryPaths { configured, bundled }, variable)
        };
        assert_eq!(choice(path("/a.so"), variable(), path("/c.so")).1, Origin::Settings);
        assert_eq!(choice(None, variable(), path("/c.so")).1, Origin::Variable);
        assert_eq!(choice(None, None, path("/c.so")), ("/c.so".into(), Origin::Bundled));
        assert_eq!(choice(None, None, None), ("libonnxruntime.so".into(), Origin::System));
        assert!(choice(path("lib/a.so"), None, None).0.is_absolute());
    }
}
