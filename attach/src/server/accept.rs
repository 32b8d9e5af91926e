//! What a client accepts.

use axum::extract::Request;
use axum::http::header::ACCEPT;

/// Whether a client says that it accepts a kind of answer (RFC 9110 section 12.5.1), by its name: only who
/// does gets what is not JSON.
pub(super) fn accepts(request: &Request, wanted: &str) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut ranges = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        // A weight of 0 says that it is not accepted.
        let is_nothing = |weight: &str| weight.trim_matches(['0', '.']).is_empty();
        let is_refused = |part: &str| {
            let split = part.split_once('=');
            split.is_some_and(|(name, weight)| name.eq_ignore_ascii_case("q") && is_nothing(weight))
        };
        kind.eq_ignore_ascii_case(wanted) && !parts.any(is_refused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::EVENT_STREAM;
    use axum::body::Body;
    use axum::http::HeaderValue;

    #[test]
    fn a_kind_is_sent_to_who_accepts_it() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream; q=0.001", true),
            ("text/event-stream;level=1", true),
            ("application/json", false),
            ("text/*", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream; Q=0.000", false),
            ("", false),
        ] {
            let mut request = Request::new(Body::empty());
            let accept = HeaderValue::from_static(accept);
            request.headers_mut().insert(ACCEPT, accept.clone());
            assert_eq!(accepts(&request, EVENT_STREAM), expected, "{accept:?}");
        }
    }
}
