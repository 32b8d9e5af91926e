//! Says what this program is compiled by and how: instruction counts differ by both.

use std::env;
use std::process::Command;

/// What changes the code that the compiler makes, besides `Cargo.toml`.
const OVERRIDES: [&str; 6] = [
    "CARGO_PROFILE_RELEASE_LTO",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL",
    "CARGO_PROFILE_RELEASE_PANIC",
    "CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS",
    "CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler).arg("-V").output();
    let version = version.map_or_else(|_| Vec::new(), |said| said.stdout);
    let version = String::from_utf8_lossy(&version);
    println!("cargo:rustc-env=BENCHES_COMPILER={}", version.trim());
    let said = |name: &str| env::var(name).unwrap_or_default();
    let mut profile = vec![said("PROFILE"), said("TARGET")];
    for name in OVERRIDES {
        println!("cargo:rerun-if-env-changed={name}");
        if let Ok(value) = env::var(name) {
            profile.push(format!("{name}={value}"));
        }
    }
    let flags = said("CARGO_ENCODED_RUSTFLAGS");
    if !flags.is_empty() {
        profile.push(format!("RUSTFLAGS={}", flags.replace('\u{1f}', " ")));
    }
    println!("cargo:rustc-env=BENCHES_PROFILE={}", profile.join(" "));
}
