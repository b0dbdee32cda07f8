/// Gives memory that is not used any more back to the system, from all threads. The C library keeps
/// what was used for a moment, such as a list of all videos, and what each thread of it keeps adds
/// up.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    trim();
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's function has no safe form")]
fn trim() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // SAFETY: it may be called at any time, by any thread: `man malloc_trim`.
    unsafe { malloc_trim(0) };
}
