//! This machine: what is installed, the processor, and the disk.

use std::path::{Path, PathBuf};

use moliceiro_decode::{IncompletePackage, installation};
use moliceiro_detector::{DetectorSettings, load_runtime};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::StreamsSettings;
use moliceiro_nats::embedded::{EmbeddedServer, free_space, is_writable};
use moliceiro_nats::inspection::program_version;
use moliceiro_run::nats_server;
use moliceiro_service::{Settings, SettingsError};
use moliceiro_vision::Model;

use super::report::Report;
use crate::version;

const MIB: u64 = 1 << 20;
/// Less than this is too little for one long video.
const LEAST_SPOOL: u64 = 1024 * MIB;
/// More names than this do not help.
const MOST_NAMES: usize = 6;

pub(super) fn check(settings: &Settings, report: &mut Report) -> Result<(), SettingsError> {
    report.ok("moliceiro", version::build());
    check_gstreamer(report);
    check_runtime(&settings.section()?, report);
    check_processor(report);
    Ok(())
}

fn check_gstreamer(report: &mut Report) {
    let installed = match installation() {
        Ok(installed) => installed,
        Err(error) => {
            return report.problem(
                "GStreamer",
                error.to_string(),
                "on Debian and Ubuntu, apt install gstreamer1.0-plugins-base \
                 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
                 gstreamer1.0-libav",
            );
        }
    };
    report.ok("GStreamer", &*installed.version);
    for IncompletePackage { package, missing, is_absent } in installed.incomplete {
        let more = missing.len().saturating_sub(MOST_NAMES);
        let mut names = missing[..missing.len() - more].join(", ");
        if more > 0 {
            names += &format!(" and {more} more");
        }
        if is_absent {
            let found = format!("{package} is not installed: videos with {names} are refused");
            report.warning("GStreamer", found, format!("install the package {package}"));
        } else {
            report.warning("GStreamer", format!("{package} lacks {names}"), "");
        }
    }
}

fn check_runtime(settings: &DetectorSettings, report: &mut Report) {
    match load_runtime(settings) {
        Ok(runtime) => report.ok("ONNX Runtime", version::described(&runtime)),
        Err(error) => return report.problem("ONNX Runtime", error.to_string(), ""),
    }
    match moliceiro_detector::check(settings) {
        Ok(()) => report.ok("model", "a built-in model runs"),
        Err(error) => report.problem("model", error.to_string(), "reinstall Moliceiro"),
    }
}

fn check_processor(report: &mut Report) {
    let found = version::processor();
    if Model::builtin_int8().suits_processor() {
        report.ok("processor", format!("{found}: nanodet-int8 is the fastest built-in model"));
    } else {
        report.ok(
            "processor",
            format!("{found}, without 8-bit instructions: nanodet is the built-in model to use"),
        );
    }
}

/// The folder of the private server. It need not exist yet.
pub(super) fn check_data(
    data: Option<&Path>,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), SettingsError> {
    let streams = settings.section::<StreamsSettings>()?;
    let wanted = streams.reserved_bytes();
    let Some(data) = data else {
        report.problem("disk", "your home directory is unknown", "choose a folder with --data");
        return Ok(());
    };
    let folder = existing(data);
    if !is_writable(&folder) {
        let found = format!("{} cannot be written by this user", folder.display());
        report.problem("disk", found, "choose another folder with --data");
        return Ok(());
    }
    let (free, limit) = match (free_space(&folder), store_limit(data, &folder)) {
        (Ok(free), Ok(limit)) => (free / MIB, limit),
        (Err(error), _) | (_, Err(error)) => {
            let found = format!("{}: {error}", folder.display());
            report.problem("disk", found, "choose another folder with --data");
            return Ok(());
        }
    };
    let found = format!("{free} MiB are free for {}", data.display());
    let wanted_mib = wanted / MIB;
    let advice = "free some, or choose a folder on another disk with --data";
    let least = streams.least_bytes().min(wanted);
    if limit < least {
        let least = least * 4 / 3 / MIB;
        report.problem("disk", format!("{found}, and {least} MiB are needed"), advice);
    } else if limit < wanted {
        let smaller = format!("{found}: the streams get less than their {wanted_mib} MiB");
        report.warning("disk", smaller, advice);
    } else {
        report.ok("disk", found);
    }
    Ok(())
}

fn store_limit(data: &Path, existing: &Path) -> std::io::Result<u64> {
    EmbeddedServer::store_limit_on(if data.is_dir() { data } else { existing })
}

/// The folder of an ingest for a video while it is decoded.
pub(super) fn check_spool(settings: &Settings, report: &mut Report) -> Result<(), SettingsError> {
    let spool = settings.section::<IngestSettings>()?.spool;
    let spool = spool.unwrap_or_else(std::env::temp_dir);
    let name = spool.display();
    let advice = "set ingest.spool to a folder with space";
    match free_space(&spool) {
        Err(error) => report.problem("disk", format!("{name}: {error}"), advice),
        Ok(_) if !is_writable(&spool) => {
            report.problem("disk", format!("{name} cannot be written by this user"), advice);
        }
        Ok(free) => {
            let found = format!("{} MiB are free for videos while decoded in {name}", free / MIB);
            match free < LEAST_SPOOL {
                true => report.warning("disk", found, advice),
                false => report.ok("disk", found),
            }
        }
    }
    Ok(())
}

/// The folder, or else the one above it that exists.
fn existing(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = folder.ancestors().find(|above| above.is_dir());
    found.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Whether the program of the private server can be used.
pub(super) fn check_program(is_needed: bool, report: &mut Report) -> bool {
    const CHECK: &str = "nats-server";
    let program = nats_server();
    let name = program.display();
    match program_version(&program) {
        Ok((version, true)) => {
            report.ok(CHECK, format!("{version} ({name})"));
            return true;
        }
        Ok((version, false)) => {
            let found = format!("{name} is version {version}, which is too old");
            match is_needed {
                true => report.problem(CHECK, found, "install a newer one"),
                false => report.warning(CHECK, found, "do not use it for Moliceiro"),
            }
        }
        Err(_) if !is_needed => report.ok(CHECK, "not on this machine"),
        Err(error) => {
            let advice = "reinstall Moliceiro, or install nats-server";
            report.problem(CHECK, format!("{name} cannot be run: {error}"), advice);
        }
    }
    false
}
