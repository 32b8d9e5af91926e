//! Whether a sentence is a directive.
//!
//! A person who writes "sleep now" orders; one who writes "did it sleep well?" or "do not sleep" does
//! not. A marker counts only at the beginning of a sentence that is no question, after whoever it is
//! said to and a "please".

/// Whether a text has a sentence that is a directive by one of these markers, in lower case.
pub(super) fn is_directive(text: &str, markers: &[String]) -> bool {
    if markers.is_empty() {
        return false;
    }
    let text = text.to_lowercase();
    sentences(&text).any(|sentence| {
        let said = without_address(sentence);
        markers.iter().any(|marker| begins_with(said, marker))
    })
}

/// Sentences that are no questions.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?', ';', '\n'])
        .filter(|sentence| !sentence.ends_with('?'))
        .map(str::trim)
}

/// What is said, without `@name`, `name:` or `name,` and `please` before it.
fn without_address(sentence: &str) -> &str {
    let mut said = sentence;
    if let Some((first, rest)) = said.split_once(char::is_whitespace)
        && (first.starts_with('@') || first.ends_with([':', ',']))
    {
        said = rest.trim_start();
    }
    match said.strip_prefix("please") {
        Some(rest) => rest.trim_start_matches([' ', ',']),
        None => said,
    }
}

fn begins_with(said: &str, marker: &str) -> bool {
    !marker.is_empty()
        && said
            .strip_prefix(marker)
            .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_talk() {
        let markers = ["go to sleep".to_owned(), "stop".to_owned()];
        for order in [
            "Go to sleep.",
            "stop",
            "@ada please stop!",
            "worker-1: stop",
            "Well done. Please, go to sleep now",
            "ok\nSTOP\n",
        ] {
            assert!(is_directive(order, &markers), "{order}");
        }
        for talk in [
            "",
            "did you go to sleep?",
            "stop?",
            "do not stop",
            "don't go to sleep",
            "the stop of the bus",
            "stopping is not needed",
            "he said stop",
        ] {
            assert!(!is_directive(talk, &markers), "{talk}");
        }
        assert!(!is_directive("stop", &[]));
        assert!(!is_directive("stop", &[String::new()]));
    }
}
