//! What is said when the program itself is at fault.

use std::io::Write as _;
use std::panic::{PanicHookInfo, set_hook};

/// Replaces the default message of a panic.
///
/// The database panics on some damaged pages; the store contains that and answers with an error,
/// so nothing is said about it here.
pub(crate) fn install(json: bool) {
    set_hook(Box::new(move |info| {
        if !runstone::panic_is_contained() {
            report(info, json);
        }
    }));
}

fn report(info: &PanicHookInfo<'_>, json: bool) {
    let message = format!("internal error: {}", text(info));
    let hint = "this is a fault of runstone, not yours: please report it with this message; \
                nothing that was acknowledged is lost";
    let line = if json {
        serde_json::json!({"error": {"code": "internal", "message": message, "hints": [hint]}})
            .to_string()
    } else {
        format!("error: {message}\n  hint: {hint}")
    };
    // There is nobody left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let said = info
        .payload_as_str()
        .unwrap_or("something that is not text");
    match info.location() {
        Some(place) => format!("{said} ({}:{})", place.file(), place.line()),
        None => said.to_owned(),
    }
}
