//! JSON for people, without changing a token of it.

/// Lays JSON out over lines. Every token stays as it is: numbers that no integer type holds, keys
/// that stand twice, and the order of keys. What is not JSON comes out as garbage, not as a panic.
pub(crate) fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.chars().peekable();
    while let Some(one) = rest.next() {
        match one {
            '"' => {
                out.push(one);
                while let Some(within) = rest.next() {
                    out.push(within);
                    match within {
                        '\\' => out.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(one);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(close) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(one);
            }
            ',' => {
                out.push(one);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ if one.is_ascii_whitespace() => {}
            _ => out.push(one),
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_and_tokens_do_not() {
        let json =
            r#"{"b":[1, 340282366920938463463374607431768211455,1e999],"a":{ },"a":"{\"x\":[,]}"}"#;
        let want = "{\n  \"b\": [\n    1,\n    340282366920938463463374607431768211455,\n    1e999\n  ],\n  \"a\": {},\n  \"a\": \"{\\\"x\\\":[,]}\"\n}";
        assert_eq!(indent(json), want);
        assert_eq!(indent("\n [\n]\t"), "[]");
        assert_eq!(indent("null"), "null");
    }

    #[test]
    fn anything_comes_out_somehow() {
        for bad in ["", "}", "\"", "\"\\", "[[[", "]]{"] {
            indent(bad);
        }
    }
}
