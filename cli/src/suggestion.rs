use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What people try in order to count a video.
const COUNTING: [&str; 14] = [
    "analyse", "analyze", "convert", "count", "decode", "detect", "file", "infer", "input", "play",
    "predict", "process", "start", "video",
];

/// Suggests `run` for a word that means it, and for the name of a video.
pub(crate) fn explain(error: &mut clap::Error) {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let tip = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if COUNTING.contains(&&*word.to_lowercase()) => {
            "to count videos, use 'moliceiro run VIDEO…'".to_owned()
        }
        Some(ContextValue::String(word)) if is_video(word) => {
            format!("to count it, use 'moliceiro run {word}'")
        }
        _ => return,
    };
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

fn is_video(word: &str) -> bool {
    word.contains(['.', '/']) || Path::new(word).exists()
}
