#![no_main]

#[path = "../harness/profile.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod profile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| profile::invitation(data));
