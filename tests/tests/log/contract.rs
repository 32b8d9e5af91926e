//! The contract of a log, on every implementation.

use runstone_store::{Log, OpenOptions, Sealing};
use runstone_tests::contract::{self, Place, in_memory};
use std::cell::RefCell;

/// Makes logs in files, whose folders go with it.
#[derive(Default)]
struct Files(RefCell<Vec<Place>>);

impl Files {
    fn create(&self, sealing: Sealing, open: OpenOptions) -> Log {
        let place = Place::new(sealing);
        let log = place.create(open);
        self.0.borrow_mut().push(place);
        log
    }
}

macro_rules! properties {
    ($($module:ident: $($property:ident)+;)+) => {
        properties!(@on in_memory_sealed, |open| in_memory(Sealing::Required, open),
            $($($module::$property)+)+);
        properties!(@on in_memory_plain, |open| in_memory(Sealing::Plain, open),
            $($($module::$property)+)+);
        properties!(@files in_files_sealed, Sealing::Required, $($($module::$property)+)+);
        properties!(@files in_files_plain, Sealing::Plain, $($($module::$property)+)+);
    };
    (@on $name:ident, $make:expr, $($module:ident::$property:ident)+) => {
        mod $name {
            use super::*;
            $(#[test]
            fn $property() {
                contract::$module::$property(&$make);
            })+
        }
    };
    (@files $name:ident, $sealing:expr, $($module:ident::$property:ident)+) => {
        mod $name {
            use super::*;
            $(#[test]
            fn $property() {
                let files = Files::default();
                contract::$module::$property(&|open| files.create($sealing, open));
            })+
        }
    };
}

macro_rules! properties_of_files {
    ($($module:ident: $($property:ident)+;)+) => {
        properties_of_files!(@on on_disk_sealed, Sealing::Required, $($($module::$property)+)+);
        properties_of_files!(@on on_disk_plain, Sealing::Plain, $($($module::$property)+)+);
    };
    (@on $name:ident, $sealing:expr, $($module:ident::$property:ident)+) => {
        mod $name {
            use super::*;
            $(#[test]
            fn $property() {
                contract::$module::$property(&Place::new($sealing));
            })+
        }
    };
}

properties! {
    commands:
        a_decision_records_what_it_chose
        a_decision_may_record_nothing
        decisions_see_earlier_requests_of_the_group
        decisions_see_folds
        decisions_are_told_that_a_fold_stopped
        a_decision_that_panics_fails_alone
        a_command_is_not_decided_twice;
    conditions:
        conditions_fail_if_an_event_matches
        after_is_exclusive
        items_are_alternatives
        own_events_do_not_count
        conditions_see_earlier_requests_of_the_group
        unindexed_conditions_are_refused
        conditions_too_broad_are_refused;
    expectations:
        expectations_hold_or_conflict
        a_conflict_says_where_the_stream_is
        every_expectation_counts
        expectations_see_earlier_requests_of_the_group;
    folds:
        rows_follow_the_events
        folding_again_gives_the_same
        appends_go_on_after_a_rebuild
        a_fold_that_fails_stops_alone;
    identity:
        principals_prove_themselves
        a_wrong_key_is_refused
        settings_are_recorded
        checkpoints_are_signed;
    ids:
        known_events_are_answered_as_before
        another_event_under_a_known_id_conflicts
        known_and_new_events_do_not_mix
        known_events_in_another_order_conflict
        one_id_twice_in_a_request_is_refused
        known_events_of_the_same_group_are_found
        ids_are_looked_at_before_conditions
        imports_add_what_is_new;
    limits:
        events_are_bounded
        appends_are_bounded
        headers_are_bounded
        a_full_queue_refuses
        groups_are_bounded
        subscribers_are_bounded;
    names:
        owned_namespaces_are_not_for_raw_appends
        streams_of_commands_take_their_events_alone
        nobody_speaks_for_the_log
        reserved_names_are_refused
        a_stream_has_one_scope
        a_stream_has_one_scope_within_a_request
        a_stream_has_one_scope_within_a_group;
    positions:
        positions_are_dense_after_genesis
        revisions_are_dense_in_each_stream
        times_never_decrease
        events_read_as_given
        ids_are_minted
        a_long_append_keeps_its_order;
    reads:
        reads_select
        reads_are_bounded
        reads_select_by_time
        a_read_is_fixed_when_it_begins
        payloads_can_be_skipped
        statistics_count_what_is_there;
    requests:
        a_refused_request_fails_alone
        a_request_is_whole_or_absent
        control_that_is_too_long_fails_alone
        requests_keep_their_order;
    subscriptions:
        a_subscription_catches_up_and_follows
        a_subscription_is_a_stream
        a_subscription_ends_at_its_limit
        a_subscription_goes_on_from_its_cursor
        buffered_events_are_followed_when_durable
        a_slow_subscriber_loses_nothing
        subscriptions_end_at_their_last_position
        subscriptions_end_when_the_log_closes
        those_who_follow_go_on_through_erasures
        those_who_follow_see_what_a_read_sees
        what_is_erased_is_followed_as_erased;
}

properties_of_files! {
    files:
        a_log_reopens_as_it_was
        buffered_events_survive_a_close
        a_closed_log_says_so
        a_dropped_log_is_free
        a_command_that_is_given_up_keeps_nothing_open
        files_are_not_overwritten
        a_read_only_log_is_not_written
        a_backup_is_whole_while_writing_goes_on
        compaction_changes_nothing;
    folds:
        rows_survive_reopening
        rows_may_be_encoded_late
        a_row_without_bytes_stops_its_fold_alone
        decisions_see_the_first_row
        another_version_is_folded_again
        unknown_folds_are_kept
        a_stopped_fold_stops_again_after_reopening;
}
