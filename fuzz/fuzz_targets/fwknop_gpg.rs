#![no_main]

#[path = "../harness/gpg.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod gpg;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gpg::judge(data));
