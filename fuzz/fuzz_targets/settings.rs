//! Settings, as a person writes them (TOML) and as the log records them (JSON).

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_projections::Settings;

fuzz_target!(|data: &[u8]| {
    if let Ok(settings) = Settings::from_json(data) {
        recorded(&settings);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Settings::from_toml(text) {
        Ok(settings) => recorded(&settings),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// What can be read can be recorded, and reads the same, byte for byte.
fn recorded(settings: &Settings) {
    let json = settings.to_json().expect("it was checked");
    let again = Settings::from_json(&json).expect("it was recorded");
    assert_eq!(again, *settings);
    assert_eq!(again.to_json().expect("it was checked"), json);
}
