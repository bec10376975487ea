#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::hold::run("beside_speech", data));
