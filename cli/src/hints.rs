//! What to do next, by error code. Messages that say it themselves need no hint.

/// Advice on an error.
pub(crate) fn of(code: &str) -> &'static [&'static str] {
    own(code)
        .or_else(|| of_the_log(code))
        .or_else(|| of_events(code))
        .or_else(|| of_effects(code))
        .or_else(|| of_agents(code))
        .or_else(|| of_approvals(code))
        .or_else(|| of_tasks(code))
        .or_else(|| of_budgets(code))
        .or_else(|| of_trays(code))
        .or_else(|| of_sinks(code))
        .or_else(|| of_keys(code))
        .or_else(|| of_erasure(code))
        .or_else(|| of_proofs(code))
        .unwrap_or_default()
}

type Hints = Option<&'static [&'static str]>;

/// Errors of sinks.
fn of_sinks(code: &str) -> Hints {
    Some(match code {
        "sink_exists" => &[
            "choose another name",
            "runstone sink remove NAME, and add it anew: it begins anew then",
        ],
        "sink_not_found" => &["runstone sink list shows which there are"],
        "sink_config" => &["runstone help sink add says what a sink can be"],
        "sink_files" => {
            &["the files of a log's sinks lie in the folder with its path and .sinks appended"]
        }
        _ => return None,
    })
}

/// Errors of this command.
fn own(code: &str) -> Hints {
    Some(match code {
        "internal" => &[
            "this is a fault of runstone, not yours: please report it with this message",
            "nothing that was acknowledged is lost",
        ],
        "usage" => &["runstone help COMMAND shows what it takes"],
        "bad_line" => &["write one JSON object, or one array of them, a line"],
        "line_too_long" => &["--max-line-bytes N allows longer lines"],
        "file_not_found" => &["check the path"],
        "file_exists" => &["choose another path; nothing was overwritten"],
        "demo_folder" => &["--dir names a folder that is empty or not there yet"],
        "demo_failed" => {
            &["this is a fault of runstone, not yours: please report it with what was printed"]
        }
        "not_a_file" => &["name a file, or - for stdin"],
        "not_an_export" => &[
            "name a file that runstone export wrote without --open",
            "unpack what is compressed: zstdcat FILE | runstone load -",
        ],
        "not_a_segment" => &["name the folder or the URL of an archive, with the id of the log"],
        "segment_missing" => &["look for it in other copies of the archive"],
        "segment_unfit" => &["do not mix archives; load another copy of this one"],
        "segments_unsigned" => &[
            "look for later segments in other copies of the archive",
            "if you trust whoever could write there: runstone load --unsigned, with the same PLACE",
        ],
        "not_a_replica" => &["name a file that is not there yet, or one that a mirror wrote"],
        "export_malformed" => &["copy the file again; if it is the same, export again"],
        "export_contradicted" => {
            &["do not trust the file; export again from a log that runstone verify finds valid"]
        }
        "withheld" => &["ask whoever exported the log for an export that holds it"],
        "pack_empty" => &["runstone log with the same filters shows what matches"],
        "pack_name" => &["name a directory that does not exist yet"],
        "no_such_point" => &["runstone log --stream STREAM --limit 1 shows where the run begins"],
        "run_not_found" => &["runstone runs lists the runs"],
        "fold_unknown" => &["runstone folds lists the folds"],
        "unknown_format" | "import_unknown_format" => {
            &["name the format with --format; runstone help import lists them"]
        }
        "unknown_schema" => &["runstone schema lists the types"],
        "no_credential" => &[
            "give it with --cred FILE or RUNSTONE_CRED",
            "runstone keys principal add NAME --authority A -o FILE enrols somebody and writes one",
        ],
        "credential_mismatch" => &["--as must name the principal that the credential is for"],
        "principal_exists" => &["choose another name, or use the credential that was written then"],
        _ => return None,
    })
}

/// Errors of the log as a whole.
fn of_the_log(code: &str) -> Hints {
    Some(match code {
        "log_not_found" => &[
            "runstone init makes one",
            "name another log with --log PATH or RUNSTONE_LOG",
        ],
        "log_differs" => &["name another log with --log PATH"],
        "log_exists" => &["choose another path with --log PATH"],
        "head_of_another" => {
            &["choose another path with --log PATH, or move that file to where its log is"]
        }
        "not_a_log" => &["name the log itself with --log PATH, not its keys or its .head file"],
        "newer_format" => &["install the version of runstone that wrote the log"],
        "busy" => &[
            "--wait SECONDS waits until the other process lets go of it",
            "fuser PATH or lsof PATH says which process it is",
        ],
        "held_elsewhere" => &[
            "runstone attach shows which process holds the log",
            "do it in that process, or when it has closed the log",
        ],
        "holder_lost" => {
            &["run it again: it opens the file itself, or finds the next process that holds it"]
        }
        "not_served" => {
            &["commands open the file themselves; runstone serve holds the log for others"]
        }
        "socket_foreign" => &[
            "run it as the user who owns the log",
            "if you do not know that process, do not trust the folder",
        ],
        "socket_in_the_way" => &["move it away; until then the log is used by one process alone"],
        "socket_io" => &["check that you may write the folder of the log"],
        "bad_answer" => &["use the same version of runstone in both processes"],
        "bad_request" | "bad_method" | "unknown_path" => {
            &["runstone schema --http prints what can be asked, and how"]
        }
        "request_too_large" => &[
            "split it",
            "whoever holds the log sets the limit: Runstone::options().serve(limits)",
        ],
        "request_too_slow" => &[
            "send it at once",
            "whoever holds the log sets the limit: Runstone::options().serve(limits)",
        ],
        "no_challenge" => {
            &["ask principal/challenge, sign what it answers, and answer on the same connection"]
        }
        "log_behind" | "log_diverged" => &[
            "runstone verify shows what is there; keep the file and LOG.head as they are",
            "if the file was replaced by an older copy, put the newest one back",
        ],
        "incomplete" => &["run runstone init again, at another path or after moving it away"],
        "corrupt" | "storage_damaged" | "index_corrupt" => &[
            "runstone verify names every damaged place; it changes nothing",
            "keep a copy of the file before anything else; docs/RECOVERY.md says what to do",
            "where only index or tiles are damaged, runstone rebuild --derived makes them again",
        ],
        "checkpoint_copy" => &["make the copy reachable again, or configure another one"],
        "storage_full" => &["free some space and run it again; nothing was written"],
        "storage_io" => &["check that the path exists and that you may read and write it"],
        "storage_database" => &["runstone doctor checks the set-up, runstone verify the log"],
        "recorded_unread" => &["do not run it again; look how it stands when the log can be read"],
        "outcome_unknown" => &["run it again with the same event ids, which is safe"],
        "queue_full" => &["run it again"],
        "poisoned" | "reopening" | "closed" | "contended" => {
            &["run it again; runstone doctor checks the set-up"]
        }
        "read_only" => &[
            "append to the log that this is a copy of",
            "if that is lost for good, runstone epoch start makes a copy its successor",
        ],
        "fold_stopped" => &["runstone folds says where and why; runstone rebuild folds again"],
        "not_found" => &["runstone log --all --reverse --limit 10 shows the newest events"],
        "settings_syntax" | "settings_value" => {
            &["runstone config template shows every setting with its default"]
        }
        "settings_recorded" => &["record them again with runstone config set FILE.toml"],
        _ => return None,
    })
}

/// Errors of what is appended or asked.
fn of_events(code: &str) -> Hints {
    Some(match code {
        "conflict" => &["read the stream again, decide again, and append with its new revision"],
        "condition_failed" => &["read what matches (runstone show POSITION) and decide again"],
        "condition_too_broad" => &["add a stream or a tag, or --after POSITION"],
        "condition_unindexed" => &["use type=, tag= and stream= only"],
        "event_id_conflict" => {
            &["the id belongs to another event: runstone show ID; give the new event its own id"]
        }
        "partial_duplicate" => &["append the events that are not recorded yet on their own"],
        "duplicate_id" => &["give every event its own id"],
        "owned_stream" => &[
            "name another stream: budgets, messages, tasks, agent:NAME and tray:NAME are written by commands",
        ],
        "owned_namespace" => &[
            "use a free namespace such as tool.*, chat.*, harness.* or data.*",
            "recordings made elsewhere go in with runstone import",
        ],
        "reserved" => &["choose another name; those that begin with _ and `log` are the log's"],
        "scope_mismatch" => &["leave scope away, or use another stream for another scope"],
        "empty" => &["an array holds at least one event"],
        "limit" => &["split it: fewer events, or smaller ones"],
        "bad_query" => &[
            "a query reads like type=tool.*;tag=user:7 or stream=run-7",
            "--all takes the whole log",
        ],
        "bad_event_type" => &["a type reads like tool.call.requested"],
        "bad_tag" => &["a tag reads like user:7"],
        "duplicate_tag" | "too_many_tags" => &["tags say what is searched for; leave some away"],
        "field_empty" | "field_too_long" | "field_control_character" => {
            &["names have 1 to 255 bytes and no control characters"]
        }
        "header_too_long" => &["shorten names and tags: together they have at most 4,096 bytes"],
        "payload_too_large" => &["store large content elsewhere and record its digest"],
        "payload_too_deep" => &["put deeply nested content into a string"],
        "payload_not_json" | "payload_not_utf8" => &["the payload is one JSON value, as {\"a\":1}"],
        _ => return None,
    })
}

/// Errors of approvals.
fn of_approvals(code: &str) -> Hints {
    Some(match code {
        "not_approved" => &[
            "do not make the call",
            "runstone approval request asks; runstone approval list shows what is pending",
        ],
        "approval_not_found" => &["runstone approval list --all shows all"],
        "already_decided" | "approval_expired" | "approval_superseded" | "approval_pending" => {
            &["runstone approval show ID says how it stands"]
        }
        "own_request" => &["somebody else decides it"],
        "approval_too_lax" => {
            &["leave it to the settings, or give the credential of a person: --cred FILE"]
        }
        "not_your_request" => &["give the credential of who asked, or of a person: --cred FILE"],
        "not_reviewer" | "not_your_turn" | "voted_already" => {
            &["runstone approval show ID says who decides, and who has voted"]
        }
        "bad_reviewers" => &["name each reviewer once: --reviewer ada --reviewer bob"],
        _ => return None,
    })
}

/// Errors of agents and messages.
fn of_agents(code: &str) -> Hints {
    Some(match code {
        "bad_name" => &["a name reads like invoice-bot"],
        "agent_not_found" => &[
            "runstone agent register NAME makes it known",
            "runstone agent list shows all",
        ],
        "agent_revoked" => &["another credential acts as another agent"],
        "agent_idle" => &["runstone agent wake NAME: then it may make work again"],
        "agent_retired" | "name_taken" => &["choose another name: runstone agent list shows all"],
        "bad_tray" => &["a name reads like invoices; without --tray it gets one of its own"],
        "bad_ttl" => &["without --ttl it lives as long as the setting leases.helper_s says"],
        "helper_chain_forbidden" => &["let its parent spawn another one"],
        "helper_cap_reached" => &[
            "runstone agent power NAME running when another one has stopped",
            "helpers.max_running is a recorded setting: runstone config show",
        ],
        "tier_limit" => &[
            "runstone agent reap lets those go whose time is over",
            "helpers.max_registered is a recorded setting: runstone config show",
        ],
        "not_a_helper" => &["runstone agent sleep or runstone agent power is for other agents"],
        "auto_retire_disabled" => {
            &["it stays until its time is over; runstone agent power stops it"]
        }
        "bad_body" => &["the body is one JSON value, as {\"a\":1}"],
        _ => return None,
    })
}

/// Errors of calls that happen once.
fn of_effects(code: &str) -> Hints {
    Some(match code {
        "in_flight" => &[
            "do not make the call; effect claim --await waits for its outcome",
            "runstone effect list --status in-flight shows who holds what",
        ],
        "effect_unknown" => &[
            "do not make the call: find out whether it was made",
            "if it was: runstone effect reconcile KEY --completed RESULT",
            "if it was not: runstone effect reconcile KEY --not-executed",
        ],
        "attempts_exhausted" => &[
            "runstone effect show KEY says how it failed last",
            "effects.max_attempts is a recorded setting: runstone config show",
        ],
        "failed_for_good" => {
            &["it was executed and is not made again; another call needs a key of its own"]
        }
        "key_conflict" => {
            &["a call that means something else needs a key of its own: choose another --key"]
        }
        "stale_claim" => &[
            "do not go on with it: somebody else holds it, or it ended",
            "runstone effect show KEY or runstone task show ID says how it stands",
        ],
        "nothing_to_settle" => {
            &["runstone effect list --status unknown shows what is to be settled"]
        }
        "not_allowed" => &[
            "give the credential of a person: --cred FILE or RUNSTONE_CRED",
            "runstone keys principal add NAME --authority human -o CRED enrols one",
        ],
        "effect_not_found" => &[
            "runstone effect list has them all",
            "a KEY is looked up in the scope of --stream; --id takes the position of the claim",
        ],
        "result_erased" => &["the call counts as made: take its result from elsewhere"],
        "result_unreadable" => &["runstone show POSITION says what is there"],
        "bad_key" => &["a key has 1 to 1,024 bytes"],
        "bad_arguments" => &["give them as JSON by name, as in --args '{\"usd\":12}'"],
        _ => return None,
    })
}

/// Errors of tasks.
fn of_tasks(code: &str) -> Hints {
    Some(match code {
        "bad_task_id" => &["an id reads like invoice-42"],
        "bad_task_state" => &["--state todo or --state backlog"],
        "task_not_found" => &[
            "runstone task list has them all",
            "an ID is looked up in the scope of --stream",
        ],
        "task_parent_not_found" => &["create the parent first, or leave --parent away"],
        "admission_incomplete" => &[
            "--admission FIELD=TEXT says one of them",
            "admission.required is a recorded setting: runstone config show",
        ],
        "depth_exceeded" => &["loops.max_depth is a recorded setting: runstone config show"],
        "cycle_detected" => &["runstone task show ID says what it is a part of"],
        "identity_loop" => &["do it in the task that is under way, or give it to another agent"],
        "reprocess_detected" => {
            &["it was done: create a task with an id of its own, if it is to be done again"]
        }
        "task_exists" => &["runstone task show ID says how it stands"],
        "task_move_refused" => &["runstone task show ID says how it stands now"],
        "task_not_claimable" => &["runstone task list --status todo shows what can be claimed"],
        "task_held" => &["wait until it is given back or its lease ends"],
        _ => return None,
    })
}

/// Errors of budgets.
fn of_budgets(code: &str) -> Hints {
    Some(match code {
        "budget_exceeded" => &[
            "do not go on: runstone budget check OWNER says how it stands",
            "a person raises a limit: runstone budget open OWNER --limit DIM=N --cred FILE",
        ],
        "budget_not_found" => &[
            "runstone budget list has them all",
            "runstone budget open OWNER opens one",
        ],
        "reservation_not_found" => {
            &["a reservation is named by the fence that runstone budget reserve answered"]
        }
        "reservation_of_call" => {
            &["runstone effect complete, fail or release ends it with the call"]
        }
        "reservation_ended" => {
            &["what it cost besides is charged: runstone budget charge OWNER --amount DIM=N"]
        }
        "budget_parent" => &["an owner of another name can be opened under another one"],
        "budget_too_deep" => &["open it under an owner further up"],
        "preset_not_found" => &["runstone config show shows the presets"],
        "budget_dimension" => &[
            "steps, depth, duration_s, tool_calls, tokens, usd_micros, gco2_mg, or a name of your own",
        ],
        "amount_too_large" | "budget_too_many" => {
            &["count in a larger unit, or less of it: counters of your own have names"]
        }
        "amount_missing" => &["--amount DIM=N, as in --amount tokens=1200 or --amount usd=0.25"],
        "owner_name" => &["an owner reads like run-7 or team/billing"],
        "not_of_fork" => &["append what the fork needs to know to its session"],
        "run_budget" => &["resume the run without naming a budget: it knows its own"],
        _ => return None,
    })
}

/// Errors of trays.
fn of_trays(code: &str) -> Hints {
    Some(match code {
        "bad_tray_name" => &["a name reads like invoices"],
        "tray_not_found" => &[
            "runstone tray list has them all",
            "runstone tray open NAME opens one",
        ],
        "tray_closed" => &["open a tray of another name"],
        "no_own_tray" => &[
            "name the tray: runstone tray claim TRAY; runstone tray list shows all",
            "--cred FILE is the credential of a helper, which has one",
        ],
        "bad_lease" => &["without --lease it is held for 900 seconds: runstone tray renew goes on"],
        "task_in_tray" => &["runstone tray claim TRAY claims what is next there"],
        "task_not_in_tray" | "dependency_not_found" => {
            &["runstone tray list TRAY shows the tasks of a tray"]
        }
        "too_many_dependencies" | "too_many_dependents" => {
            &["put a task between, which waits for some of them and comes before the others"]
        }
        "dependency_cycle" => &["runstone tray show TRAY ID says what a task waits for"],
        _ => return None,
    })
}

/// Errors of keys and principals.
fn of_keys(code: &str) -> Hints {
    Some(match code {
        "keyring_not_found" => &[
            "the folder is LOG.keys by default; --keys PATH or RUNSTONE_KEYS names another",
            "bring back what runstone keys backup wrote",
        ],
        "keyring_mismatch" | "wrong_keys" => {
            &["the folder is LOG.keys by default; --keys PATH or RUNSTONE_KEYS names another"]
        }
        "key_table_checksum" | "key_table_corrupt" | "key_table_format" | "key_table_too_long" => {
            &["bring back the copy that runstone keys backup made"]
        }
        "principal_unknown" => &["runstone keys principal add enrols somebody"],
        "keyring_io" => &["check that the folder exists and that you may read and write it"],
        "key_provider_unavailable" => {
            &["the file ring in the keyring folder names the variable or the command"]
        }
        "bad_origin" => &["an origin reads like example.com/invoices"],
        "key_missing" => &["what was sealed under an erased key is gone; the event itself stands"],
        "entropy" | "entropy_unavailable" => {
            &["the operating system gives no randomness: run it again"]
        }
        "principal_name" => &["a principal has 1 to 255 bytes and no control characters"],
        _ => return None,
    })
}

/// Errors of erasing.
fn of_erasure(code: &str) -> Hints {
    Some(match code {
        "erase_request" => &["runstone erase SCOPE --basis CODE, as in --basis gdpr-17-1-b"],
        "scope_unknown" => &["scopes stand in runstone show POSITION and in runstone keys list"],
        "scope_not_held" => &["runstone hold --list shows what is held"],
        "scope_retained" => &["runstone config show shows the minimum; changing it is recorded"],
        "erasure_pending" => &[
            "the content reads as erased already",
            "runstone erase --resume goes on with it",
        ],
        "scope_held" => &["runstone hold SCOPE --release, by a person or a commander"],
        "not_confirmed" => &["answer y, or give --yes"],
        "kek_remains" => &["runstone keys rotate asks the provider again"],
        "no_signing_overlap" => &["runstone keys rotate-signing begins one"],
        "signing_overlap" => &["runstone keys rotate-signing --end ends it"],
        _ => return None,
    })
}

/// Errors of proofs and of what is disclosed.
fn of_proofs(code: &str) -> Hints {
    Some(match code {
        "policy_unreadable" => &["runstone policy prints the policy of a log, for its auditors"],
        "policy_malformed"
        | "policy_quorum"
        | "policy_name"
        | "policy_too_long"
        | "policy_duplicate_key" => &["give the policy as runstone policy printed it"],
        "checkpoint_unknown_origin" | "checkpoint_origin" | "note_not_signed" => {
            &["the policy does not trust this log: get the one that its owner publishes now"]
        }
        "consistency_origin" => &["a later epoch of the same log: add --across-epochs"],
        "consistency_size" => &["give the checkpoint that the file was made for"],
        "receipt_log_id_missing" => &["--log-id HEX: log_id in runstone show 0"],
        "foreign_checkpoint" => &["give a checkpoint that this log has signed, as it was written"],
        "recipient" => &["a recipient reads like auditor-7"],
        "erased" => &["runstone erase --list says when and why"],
        "disclosure_whole_only" => &["--disclose-all discloses the whole payload"],
        "disclosure_unknown_field" => &["runstone show POSITION shows the members of the payload"],
        _ => return None,
    })
}
