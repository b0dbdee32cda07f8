pub mod document;
pub mod samples;
