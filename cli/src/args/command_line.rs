//! A program and its arguments, written as one value, and what may name one.

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine(pub(crate) Vec<String>);

/// Words as a POSIX shell splits them, without anything else that a shell does; or a JSON array of
/// strings.
pub(super) fn parse(text: &str) -> Result<CommandLine, String> {
    let words = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|_| "it begins like a JSON array of strings, and is none")?
    } else {
        split(text)?
    };
    match words.first() {
        Some(program) if !program.is_empty() => Ok(CommandLine(words)),
        _ => Err("it names no program".to_owned()),
    }
}

/// Who holds the key-encryption key of a new log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kek {
    /// The keyring folder.
    Keyring,
    /// An environment variable of this name.
    Env(String),
    /// A program.
    Command(CommandLine),
}

/// `keyring`, `env:NAME` or `command:COMMAND`.
pub(super) fn parse_kek(text: &str) -> Result<Kek, String> {
    if let Some(command) = text.strip_prefix("command:") {
        return parse(command).map(Kek::Command);
    }
    match text.strip_prefix("env:") {
        Some(name) if is_variable(name) => Ok(Kek::Env(name.to_owned())),
        Some(_) => Err("a variable has letters, digits and _, and no digit first".to_owned()),
        None if text == "keyring" => Ok(Kek::Keyring),
        None => Err("it is keyring, env:NAME or command:COMMAND".to_owned()),
    }
}

fn is_variable(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Words parted by white space; '..' as it is; ".." but for \" and \\; \ before anything else.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match one {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(within) => word.push(within),
                        None => return Err("a ' is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                quoted(&mut rest, word)?;
            }
            '\\' => {
                let next = rest.next().ok_or("it ends in a \\")?;
                word.get_or_insert_default().push(next);
            }
            _ if one.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(one),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let open = "a \" is not closed";
    loop {
        match rest.next().ok_or(open)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(open)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            within => word.push(within),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        parse(text).unwrap().0
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(words("keep  --at x"), ["keep", "--at", "x"]);
        assert_eq!(
            words(" 'a b'c \"d \\\" \\n\" e\\ f ''"),
            ["a bc", "d \" \\n", "e f", ""]
        );
        assert_eq!(
            words("sh -c 'cat > $HOME; `x`'"),
            ["sh", "-c", "cat > $HOME; `x`"]
        );
    }

    #[test]
    fn a_key_encryption_key_is_held_in_three_ways() {
        assert_eq!(parse_kek("keyring"), Ok(Kek::Keyring));
        assert_eq!(parse_kek("env:KEY_1"), Ok(Kek::Env("KEY_1".to_owned())));
        let command = CommandLine(vec!["kms".to_owned(), "a b".to_owned()]);
        for text in ["command:kms 'a b'", "command:[\"kms\",\"a b\"]"] {
            assert_eq!(parse_kek(text), Ok(Kek::Command(command.clone())));
        }
        for text in [
            "", "env", "env:", "env:1", "env:A B", "env:A=1", "command:", "file", "Keyring",
        ] {
            assert!(parse_kek(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_json_array_says_each_word() {
        assert_eq!(words(r#"["/opt/a b", "", "x\n"]"#), ["/opt/a b", "", "x\n"]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for text in [
            "", "  ", "[]", "[1]", "[\"\"]", "['a']", "a 'b", "a \"b", "a\\", "''", "\"a\\",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
