//! Defaults, templates and errors of settings.

use super::keys::{Allowed, KEYS, SECTIONS};
use super::*;
use proptest::prelude::*;
use runstone_codec::Position;
use runstone_store::{CreateOptions, ErrorKind, Log, OpenOptions};
use std::collections::{BTreeMap, BTreeSet};

fn leaves(value: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(members)
            if !path.starts_with("budgets.presets") && !path.starts_with("budgets.windows") =>
        {
            for (name, member) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(member, &path, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_setting_is_documented_and_every_documented_one_exists() {
    let mut found = BTreeSet::new();
    leaves(
        &serde_json::to_value(Settings::default()).unwrap(),
        "",
        &mut found,
    );
    assert!(found.remove("budgets.presets") && found.remove("budgets.windows"));
    let documented: BTreeSet<_> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(documented, found);
    assert_eq!(documented.len(), KEYS.len());
    let sections: BTreeSet<_> = SECTIONS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let used: BTreeSet<_> = KEYS
        .iter()
        .map(|key| key.path.split_once('.').unwrap().0.to_owned())
        .collect();
    assert_eq!(sections, used);
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let settings = Settings::default();
    settings.check().unwrap();
    let zu = &settings.budgets.presets["zu"];
    assert_eq!(
        (
            zu.owner.steps,
            zu.owner.tokens,
            zu.owner.duration_s,
            zu.step.tool_calls
        ),
        (Some(20), Some(200_000), Some(120), Some(32))
    );
    let exec_kernel = &settings.budgets.presets["exec-kernel"];
    let owner = &exec_kernel.owner;
    assert_eq!(
        (owner.steps, owner.depth, owner.duration_s),
        (Some(50), Some(10), Some(1800))
    );
    assert!(exec_kernel.step.is_empty());
    assert_eq!(settings.approvals.on_timeout, OnTimeout::Reject);
    assert_eq!(settings.approvals.approval_from, ApprovalFrom::None);
}

#[test]
fn the_words_that_are_documented_are_those_that_are_read() {
    for key in &KEYS {
        let Allowed::Word(words) = key.allowed else {
            continue;
        };
        let (section, name) = key.path.split_once('.').unwrap();
        for word in words {
            let to = "escalate_to = \"human:ada\"";
            let text = format!("[{section}]\n{name} = \"{word}\"\n{to}\n");
            let settings = Settings::from_toml(&text).unwrap();
            let json = serde_json::to_value(&settings).unwrap();
            assert_eq!(json[section][name], *word);
        }
        let error = Settings::from_toml(&format!("[{section}]\n{name} = \"odd\"\n")).unwrap_err();
        let missing: Vec<_> = words
            .iter()
            .filter(|word| !error.to_string().contains(**word))
            .collect();
        assert_eq!(missing, Vec::<&&str>::new(), "{error}");
    }
}

#[test]
fn the_template_is_the_defaults_and_names_everything() {
    let template = Settings::default().to_toml_template(false);
    assert_eq!(Settings::from_toml(&template).unwrap(), Settings::default());
    let words: String = template
        .replace("\n#", " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for key in &KEYS {
        assert!(
            words.contains(key.about) && words.contains(key.reader),
            "{}",
            key.path
        );
    }
    assert!(
        template
            .lines()
            .all(|line| line.len() <= 100 && line.is_ascii()),
        "{template}"
    );
    let minimal = Settings::default().to_toml_template(true);
    assert_eq!(Settings::from_toml(&minimal).unwrap(), Settings::default());
    assert!(
        !minimal.contains('#') && minimal.contains("max_depth = 10\n"),
        "{minimal}"
    );
}

#[test]
fn a_commented_example_of_the_template_works() {
    let template = Settings::default()
        .to_toml_template(false)
        .replace("# [budgets.windows.day]", "[budgets.windows.day]")
        .replace("# usd_micros", "usd_micros");
    let settings = Settings::from_toml(&template).unwrap();
    assert_eq!(settings.budgets.windows.day.usd_micros, Some(5_000_000));
}

/// The first line of what is said about a text.
fn refusal(text: &str) -> String {
    let error = Settings::from_toml(text).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Usage, false)
    );
    let message = error.to_string();
    message.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn errors_name_the_key_and_the_line() {
    for (text, message) in [
        ("a = 1", "line 1: a: unknown field `a`, expected one of "),
        (
            "\n[loops]\n\nmax_dept = 4",
            "line 4: loops.max_dept: unknown field `max_dept`",
        ),
        (
            "[loops]\nmax_depth = \"4\"",
            "line 2: loops.max_depth: invalid type: string \"4\"",
        ),
        (
            "[loops]\nmax_depth = -1",
            "line 2: loops.max_depth: invalid value: integer `-1`",
        ),
        (
            "[loops]\nmax_depth = 10001",
            "line 2: loops.max_depth: 10001 is not allowed, expected 0 to 10000",
        ),
        (
            "leases.tray_s = 59",
            "line 1: leases.tray_s: 59 is not allowed, expected 60 to 86400",
        ),
        (
            "[leases]\n# x\neffect_s = 0",
            "line 3: leases.effect_s: 0 is not allowed, expected 1 to ",
        ),
        ("[loops]\nmax_depth = 1\nmax_depth = 1", "line 3: "),
        ("[loops", "line 1: "),
        (
            "[orders]\nsleep_types = [\"Sleep\"]",
            "line 2: orders.sleep_types: \"Sleep\" is not allowed, expected lower case",
        ),
        (
            "[orders]\ntext_markers = [\"a\", \"a\"]",
            "line 2: orders.text_markers: \"a\" is not allowed, expected each word once",
        ),
        (
            "[orders]\ntext_markers = [\" \"]",
            "line 2: orders.text_markers: \" \" is not allowed, expected 1 to 200",
        ),
        (
            "[budgets]\ndefault_preset = \"x\"",
            "line 2: budgets.default_preset: \"x\" is not allowed, expected one of exec-kernel, zu",
        ),
        (
            "[budgets.presets.X]",
            "line 1: budgets.presets: \"X\" is not allowed, expected a name",
        ),
        (
            "[budgets.presets.x.owner]\nsteps = 9007199254740992",
            "line 2: budgets.presets.x.owner.steps: 9007199254740992 is not allowed",
        ),
        (
            "[budgets.windows.day.counters]\nsteps = 1",
            "line 1: budgets.windows.day.counters: \"steps\" is not allowed, expected a name that is not",
        ),
        (
            "[budgets.windows.year]\nsteps = 1",
            "line 1: budgets.windows.year: unknown field `year`",
        ),
        (
            "[approvals]\non_timeout = \"escalate\"",
            "line 1: approvals.escalate_to: \"\" is not allowed",
        ),
        (
            "[approvals]\non_timeout = \"explode\"",
            "line 2: approvals.on_timeout: unknown variant `explode`",
        ),
    ] {
        let said = refusal(text);
        assert!(said.starts_with(message), "{text:?}: {said}");
    }
    assert!(refusal(&"#".repeat(300_000)).contains("too many"));
    assert!(refusal(&format!("a = {}", "[".repeat(10_000))).starts_with("line 1: "));
}

#[test]
fn presets_are_added_to_those_that_are_there() {
    let text =
        "[budgets.presets.mine.owner]\nsteps = 1\ncounters.mails = 2\n[budgets.presets.zu]\n";
    let budgets = Settings::from_toml(text).unwrap().budgets;
    let names: Vec<_> = budgets.presets.keys().map(String::as_str).collect();
    assert_eq!(names, ["exec-kernel", "mine", "zu"]);
    assert_eq!(
        budgets.presets["mine"].owner.counters,
        BTreeMap::from([("mails".to_owned(), 2)])
    );
    assert_eq!(budgets.presets["zu"], Preset::default());
}

#[test]
fn json_is_canonical_and_names_every_key() {
    let json = Settings::default().to_json().unwrap();
    let text = String::from_utf8(json.clone()).unwrap();
    assert!(
        text.starts_with(r#"{"admission":{"enabled":false,"required":["consumer","#),
        "{text}"
    );
    assert_eq!(Settings::from_json(&json).unwrap(), Settings::default());
    assert_eq!(Settings::from_json(b"{}").unwrap(), Settings::default());
    for key in &KEYS {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("\"{name}\":")), "{name}");
    }
    let error = Settings::from_json(b"{\"loops\":{\"x\":1}}").unwrap_err();
    assert!(error.to_string().contains("unknown field `x`"), "{error}");
    let error = Settings::from_json(b"{\"loops\":{\"max_depth\":1,\"max_depth\":2}}").unwrap_err();
    assert!(error.to_string().contains("duplicate field"), "{error}");
}

#[test]
fn what_is_not_valid_is_not_recorded() {
    let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
    let mut settings = Settings::default();
    settings.trays.max_attempts = 0;
    let error = settings.record(&log).unwrap_err();
    assert_eq!((error.code(), log.size()), ("settings_value", 1));
}

#[test]
fn the_last_settings_recorded_are_in_force() {
    let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
    let none = Settings::in_force(&log).unwrap();
    assert_eq!((none.settings, none.position), (Settings::default(), None));
    assert_eq!(none.sha256, Settings::default().sha256().unwrap());
    let mut settings = Settings::default();
    for depth in [3, 4] {
        settings.loops.max_depth = depth;
        settings.record(&log).unwrap();
    }
    let now = Settings::in_force(&log).unwrap();
    assert_eq!(now.sha256, settings.sha256().unwrap());
    assert_eq!(
        (now.settings, now.position),
        (settings, Some(Position::new(2)))
    );

    log.configure(b"{\"from\":\"the future\"}".to_vec())
        .unwrap();
    let error = Settings::in_force(&log).unwrap_err();
    assert_eq!(error.code(), "settings_recorded");
    assert!(error.to_string().contains("position 3"), "{error}");
}

fn limits() -> impl Strategy<Value = Limits> {
    let amount = || prop::option::of(0..=(1_u64 << 53) - 1);
    let counters = prop::collection::btree_map("[a-z][a-z0-9-]{8,10}", 0..1000_u64, 0..3);
    (amount(), amount(), amount(), counters).prop_map(|(steps, tokens, gco2_mg, counters)| Limits {
        steps,
        tokens,
        gco2_mg,
        counters,
        ..Limits::default()
    })
}

proptest! {
    #[test]
    fn a_template_reads_as_the_settings_it_was_made_of(
        markers in prop::collection::btree_set("[a-z\"\\\\'\u{e9}#=]{1,8}( [a-z]{1,3})?", 0..4),
        depth in 0..=10_000_u64,
        to in "[a-z\"\\\\:]{1,20}",
        preset in "[a-z][a-z0-9_-]{0,9}",
        owner in limits(),
        day in limits(),
        minimal: bool,
    ) {
        let mut settings = Settings::default();
        settings.orders.text_markers = markers.into_iter().collect();
        settings.loops.max_depth = depth;
        settings.approvals.on_timeout = OnTimeout::Escalate;
        settings.approvals.escalate_to = to;
        settings.budgets.windows.day = day;
        settings.budgets.default_preset.clone_from(&preset);
        settings.budgets.presets.insert(preset, Preset { owner, ..Preset::default() });
        let template = settings.to_toml_template(minimal);
        prop_assert_eq!(&Settings::from_toml(&template).unwrap(), &settings);
        let json = settings.to_json().unwrap();
        prop_assert_eq!(Settings::from_json(&json).unwrap().to_json().unwrap(), json);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z.=\\[\\]\"\n 0-9]{0,200}") {
        let _ = Settings::from_toml(&text);
    }
}
