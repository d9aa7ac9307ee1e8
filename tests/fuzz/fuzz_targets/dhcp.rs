#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| enforcer_tests::fuzz::dhcp(octets));
