//! How an invalid setting is reported, and where an effective one comes from.

use moliceiro_testing::paths::project;
use moliceiro_testing::process::{Process, moliceiro};

fn config(
    arguments: &[&str],
    environment: &[(&str, &str)],
    code: i32,
) -> (Vec<String>, Vec<String>) {
    let mut command = moliceiro();
    let mut process =
        Process::start(command.arg("config").args(arguments).envs(environment.iter().copied()));
    process.expect_code(code);
    (process.stdout(), process.stderr())
}

#[test]
fn each_source_overrides_the_previous_one_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moliceiro.toml");
    std::fs::write(
        &file,
        "[ingest]\nevery = 2\njpeg_quality = 70\nvideos = 3\n[log]\nlevel = \"warn\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let environment =
        [("MOLICEIRO__INGEST__EVERY", "3"), ("MOLICEIRO__INGEST__JPEG_QUALITY", "71")];
    let (lines, _) =
        config(&["--config", file, "--set", "ingest.every=4", "--log", "debug"], &environment, 0);
    let line =
        |key: &str| lines.iter().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
    for (key, value, source) in [
        ("every", "4", "command line --set"),
        ("jpeg_quality", "71", "environment MOLICEIRO__INGEST__JPEG_QUALITY"),
        ("videos", "3", file),
        ("level", "\"debug\"", "command line --log"),
        ("publish_window", "16", "built-in default"),
    ] {
        assert!(line(key).starts_with(&format!("{key} = {value} ")), "{}", line(key));
        assert!(line(key).ends_with(&format!("# {source}")), "{}", line(key));
    }
}

#[test]
fn the_printed_settings_are_a_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moliceiro.toml");
    let values = [
        "--set",
        "detector.threshold=0.5",
        "--set",
        "detector.models=boats,nets@2",
        "--set",
        "streams.frame_ack_wait=90s",
    ];
    let values =
        [&values[..], &["--set", "aggregator.alarms=boat > 1; car >= 2 in 0,0 1,0 1,1"]].concat();
    let (printed, _) = config(&values, &[], 0);
    std::fs::write(&file, printed.join("\n")).unwrap();
    let (again, _) = config(&["--config", file.to_str().unwrap()], &[], 0);
    let values = |lines: &[String]| {
        lines
            .iter()
            .map(|line| line.split(" #").next().unwrap().trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&printed), values(&again));
}

#[test]
fn an_invalid_setting_is_reported_with_key_source_and_valid_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moliceiro.toml");
    let path = file.to_str().unwrap();
    let in_file = |text: &str, parts: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let (out, err) = config(&["--config", path], &[], 64);
        assert!(out.is_empty(), "{out:?}");
        let err = err.join("\n");
        for part in parts {
            assert!(err.contains(part), "{err}\nlacks {part:?}");
        }
    };
    in_file("[ingest]\nwdith = 3", &["ingest.wdith", path, "did you mean width?"]);
    in_file("[igest]\nwidth = 3", &["igest", path, "did you mean ingest?"]);
    in_file("ingest = 3", &["ingest", path, "table"]);
    in_file("[ingest]\nwidth = 3", &["ingest.width = 3", path, "16 to 2048"]);
    in_file("[ingest]\nwidth = \"wide\"", &["ingest.width = wide", path, "expected an integer"]);
    in_file("[ingest]\nencoding = \"gif\"", &["ingest.encoding = gif", path, "`jpeg`", "`i420`"]);
    in_file(
        "[streams]\nkeep = \"1 fortnight\"",
        &["streams.keep = 1 fortnight", path, "such as 10s"],
    );
    in_file("[detector]\nsessions = -1", &["detector.sessions = -1", path]);
    in_file("[ingest\n", &[path, "line 1"]);
    let two = "[ingest]\nwidth = \"wide\"\nevery = 0\nheigth = 1";
    in_file(two, &["ingest.width = wide", "ingest.heigth", "did you mean height?"]);

    let (_, err) = config(&["--config", "/nonexistent.toml"], &[], 64);
    assert!(err.join("\n").contains("/nonexistent.toml: No such file"), "{err:?}");
    let (_, err) = config(&[], &[("MOLICEIRO__NATS__URI", "x")], 64);
    assert!(
        err.join("\n")
            .contains("nats.uri (from environment MOLICEIRO__NATS__URI): did you mean url?"),
        "{err:?}"
    );
    let (_, err) = config(&["--nats", "nats://a:99999"], &[], 64);
    assert!(
        err.join("\n").contains("nats.url = nats://a:99999 (from command line --nats)"),
        "{err:?}"
    );
    let (_, err) = config(&["--frobnicate"], &[], 64);
    assert!(err.join("\n").contains("--frobnicate"), "{err:?}");
}

#[test]
fn a_password_is_not_printed() {
    let (out, _) = config(&["--nats", "nats://me:secret@a:4222"], &[], 0);
    let out = out.join("\n");
    assert!(out.contains("nats://***@a:4222") && !out.contains("secret"), "{out}");
    let (out, _) = config(&["--set", "http.tokens=long-secret"], &[], 0);
    assert!(out.iter().any(|line| line.starts_with("# tokens is set, and not shown")), "{out:#?}");
    let (_, err) = config(&["--set", "http.tokens=secret"], &[], 64);
    let said = [out, err].concat().join("\n");
    assert!(!said.contains("secret") && said.contains("http.tokens = ***"), "{said}");
}

#[test]
fn old_keys_of_http_work_and_warn_with_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moliceiro.toml");
    std::fs::write(&file, "[ingest]\nuploads = 3\ntokens = [\"long-secret\"]\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = [("MOLICEIRO__INGEST__LISTEN", "127.0.0.1:1")];
    let (out, err) = config(&["--config", file, "--set", "ingest.uploads=4"], &environment, 0);
    let http = out.iter().skip_while(|line| *line != "[http]");
    let line = |start: &str| http.clone().find(|line| line.starts_with(start)).unwrap();
    for (start, source) in [
        ("uploads = 4 ", "command line --set"),
        ("listen = \"127.0.0.1:1\" ", "environment MOLICEIRO__INGEST__LISTEN"),
        ("# tokens is set, and not shown", file),
    ] {
        assert!(line(start).ends_with(&format!("# {source}")), "{}", line(start));
    }
    let err = err.join("\n");
    for key in ["uploads", "listen", "tokens"] {
        let warnings = err.lines().filter(|line| line.contains(&format!("use http.{key}")));
        let warnings: Vec<_> = warnings.collect();
        assert!(matches!(&warnings[..], [one] if one.contains(&format!("ingest.{key}"))), "{err}");
    }
    assert!(!out.join("\n").contains("secret") && !err.contains("secret"), "{out:?}\n{err}");

    let (_, err) = config(&["--config", file, "--set", "http.uploads=4"], &[], 64);
    let err = err.join("\n");
    assert!(err.contains("ingest.uploads (from ") && err.contains("http.uploads (from "), "{err}");
    assert!(!err.contains("secret"), "{err}");
    let wrong = [("MOLICEIRO__INGEST__TOKENS", "secret")];
    let (_, err) = config(&[], &wrong, 64);
    let err = err.join("\n");
    assert!(
        err.contains("http.tokens = *** (from environment MOLICEIRO__INGEST__TOKENS)"),
        "{err}"
    );
    assert!(!err.contains("secret"), "{err}");
}

#[test]
fn the_reference_has_every_setting_with_its_default() {
    let reference = std::fs::read_to_string(project().join("docs/settings.md")).unwrap();
    let (lines, _) = config(&[], &[], 0);
    let mut table = "";
    for line in &lines {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some(key) =
            line.strip_prefix("# ").and_then(|l| l.split_once(" is not set")).map(|(key, _)| key)
        {
            assert!(
                reference.contains(&format!("`{table}.{key}` | not set |")),
                "{table}.{key} is not in docs/settings.md"
            );
        } else if let Some((key, value)) = line.split_once(" = ") {
            let value = value.split(" #").next().unwrap().trim();
            assert!(
                reference.contains(&format!("`{table}.{key}` | `{value}` |")),
                "{table}.{key} = {value} is not in docs/settings.md"
            );
        }
    }
}
