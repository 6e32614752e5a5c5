#![no_main]

#[path = "../harness/store.rs"]
#[expect(dead_code, reason = "each target runs one function of its harness")]
mod store;

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::handed_over(data));
