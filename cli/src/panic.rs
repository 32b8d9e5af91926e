//! What is said when the program itself is at fault.

use crate::error::{Exit, Report};
use crate::output::Output;
use std::panic::{PanicHookInfo, set_hook};

/// Replaces the default message of a panic.
///
/// The database panics on some damaged pages; the store contains that and answers with an error,
/// so nothing is said about it here.
pub(crate) fn install(json: bool) {
    set_hook(Box::new(move |info| {
        if !runstone::store::panic_is_contained() {
            crate::output::restore_terminal();
            report(info, json);
        }
    }));
}

fn report(info: &PanicHookInfo<'_>, json: bool) {
    let report = Report::new(
        Exit::Storage,
        "internal",
        format!("internal error: {}", text(info)),
    );
    Output::new(json, false).error(&report);
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let said = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is not text");
    match info.location() {
        Some(place) => format!("{said} ({}:{})", place.file(), place.line()),
        None => said.to_owned(),
    }
}
