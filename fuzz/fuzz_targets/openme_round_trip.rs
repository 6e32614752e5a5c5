#![no_main]

#[path = "../harness/openme.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod openme;

libfuzzer_sys::fuzz_target!(|data: &[u8]| openme::round_trip(data));
