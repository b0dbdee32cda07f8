//! What this program is and works with, for `moliceiro --version`.

use std::fmt::Write;

use moliceiro_decode::gstreamer_version;
use moliceiro_detector::{DetectorSettings, load_runtime};
use moliceiro_vision::{Model, Runtime};
use ring::digest::{SHA256, digest};

/// The version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, if the build names it: `make dist` does. It is not asked of
/// git, so that the same code has the same bytes wherever it is built.
const COMMIT: Option<&str> = option_env!("MOLICEIRO_COMMIT");

/// The details, if the command line asks for them: only then libraries are loaded for it.
pub(crate) fn details_if_asked() -> &'static str {
    match std::env::args_os().nth(1).is_some_and(|argument| argument == "--version") {
        // The command line is defined once, by text that lives as long as the program.
        true => details().leak(),
        false => VERSION,
    }
}

/// The version and what it was built from, such as `0.2.0 (x86_64-linux, commit 1a2b3c)`.
pub(crate) fn build() -> String {
    let (machine, system) = (std::env::consts::ARCH, std::env::consts::OS);
    let profile = if cfg!(debug_assertions) { ", debug build" } else { "" };
    let commit = COMMIT.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    format!("{VERSION} ({machine}-{system}{commit}{profile})")
}

fn details() -> String {
    let runtime = match load_runtime(&DetectorSettings::default()) {
        Ok(runtime) => described(&runtime),
        Err(error) => error.to_string(),
    };
    let mut text = build();
    // Writing to a string does not fail.
    write!(text, "\nGStreamer     {}\nONNX Runtime  {runtime}", gstreamer_version()).ok();
    for model in [Model::builtin(), Model::builtin_int8()] {
        write!(text, "\n{:<13} {}", model.name(), digest_of(&model)).ok();
    }
    text
}

/// The version of ONNX Runtime and where it was found.
pub(crate) fn described(runtime: &Runtime) -> String {
    let version = runtime.version().unwrap_or_else(|| "of unknown version".to_owned());
    format!("{version} ({})", runtime.library().display())
}

/// The digest of a built-in model's file.
fn digest_of(model: &Model) -> String {
    let digest = digest(&SHA256, model.bytes().unwrap_or_default());
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The instructions of this processor that matter to the speed of models.
#[cfg(target_arch = "x86_64")]
pub(crate) fn processor() -> String {
    let known = [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
        ("AVX-512 VNNI", std::arch::is_x86_feature_detected!("avx512vnni")),
        ("AVX-VNNI", std::arch::is_x86_feature_detected!("avxvnni")),
    ];
    let found: Vec<_> = known.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    if found.is_empty() { "no AVX2".to_owned() } else { found.join(", ") }
}

/// The instructions of this processor that matter to the speed of models.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}
