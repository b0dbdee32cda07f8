use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use thiserror::Error;

const IN_SYSTEM: &str = "libonnxruntime.so";
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// ONNX Runtime has one environment per process, which cannot be built a second time.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// ONNX Runtime, loaded. A process loads it once: later loads give the same library.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// ONNX Runtime could not be loaded.
#[derive(Debug, Error)]
#[error("cannot load ONNX Runtime from {library} ({origin}): {reason}; {}", origin.way_out())]
pub struct RuntimeError {
    library: String,
    origin: Origin,
    reason: String,
}

/// Who says where the library is.
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
            Self::Bundled => "install Moliceiro anew, or run `make setup` in its checkout",
            Self::System => {
                "none came with Moliceiro: run `make setup` in its checkout, or let ORT_DYLIB_PATH name a libonnxruntime.so"
            }
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settings => "named by the settings",
            Self::Variable => "named by ORT_DYLIB_PATH",
            Self::Bundled => "came with Moliceiro",
            Self::System => "the system's own",
        })
    }
}

impl Runtime {
    /// Loads the library that `configured` names; else the one that the variable `ORT_DYLIB_PATH`
    /// names; else `bundled`, which came with the program; else the system's.
    ///
    /// The first of these that is named or present is used: when it doesn't load, the next isn't
    /// tried.
    pub fn load(configured: Option<&Path>, bundled: Option<PathBuf>) -> Result<Self, RuntimeError> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        let (library, origin) = choose(configured, variable, bundled);
        let error = |reason: String| RuntimeError {
            library: library.display().to_string(),
            origin,
            reason: one_line(&reason),
        };
        // Once a library is loaded, `init_from` takes any path for granted.
        if origin != Origin::System && !library.is_file() {
            return Err(error("no such file".to_owned()));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        let builder = ort::init_from(&library).map_err(|e| error(e.to_string()))?;
        let builder =
            builder.with_name("moliceiro").with_telemetry(false).with_logger(Arc::new(log));
        let environment = builder.build().map_err(|e| error(e.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        Ok(loaded.insert(Self { environment, library }).clone())
    }

    /// Where the library was found.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// What the library says of its own build.
    pub fn description(&self) -> &'static str {
        ort::info()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// What fails is returned as an error too: here it is for finding out more.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => {
            tracing::warn!(target: "onnxruntime", category, location, "{message}")
        }
        _ => tracing::debug!(target: "onnxruntime", category, location, "{message}"),
    }
}

fn choose(
    configured: Option<&Path>,
    variable: Option<OsString>,
    bundled: Option<PathBuf>,
) -> (PathBuf, Origin) {
    // ort takes a relative path as relative to the program, people mean it relative to where they
    // are.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (configured, variable, bundled) {
        (Some(path), _, _) => (absolute(path), Origin::Settings),
        (None, Some(path), _) => (absolute(Path::new(&path)), Origin::Variable),
        (None, None, Some(path)) => (path, Origin::Bundled),
        (None, None, None) => (PathBuf::from(IN_SYSTEM), Origin::System),
    }
}

/// The text without line breaks, as error messages must be.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_win_then_the_variable_then_what_came_along_then_the_system() {
        let (settings, variable, bundled) =
            (Path::new("/a.so"), OsString::from("/b.so"), PathBuf::from("/c.so"));
        let origin = |choice: (PathBuf, Origin)| choice.1;
        assert_eq!(
            origin(choose(Some(settings), Some(variable.clone()), Some(bundled.clone()))),
            Origin::Settings
        );
        assert_eq!(origin(choose(None, Some(variable), Some(bundled.clone()))), Origin::Variable);
        assert_eq!(choose(None, None, Some(bundled.clone())), (bundled, Origin::Bundled));
        assert_eq!(choose(None, None, None), (PathBuf::from("libonnxruntime.so"), Origin::System));
        assert!(choose(Some(Path::new("lib/a.so")), None, None).0.is_absolute());
    }
}
