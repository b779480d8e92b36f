//! The file of an app's repository: whatever it holds, the answer is settings or faults that point into it.
#![no_main]
use hokku_core::parse::hokku_toml;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let first = hokku_toml::parse_bytes(text).map_err(|f| f.to_string());
    let again = hokku_toml::parse_bytes(text).map_err(|f| f.to_string());
    assert_eq!(first.is_ok(), again.is_ok());
    if let Err(said) = first {
        assert!(!said.is_empty(), "refused without a word");
    }
});
