//! Settings that an owner may choose. A list of what is allowed: a setting that nobody thought of cannot switch off
//! durability, run a program, load a library or write outside the volume. PostgreSQL itself checks the values.

use std::collections::BTreeMap;

/// A parameter that is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidParameter {
    #[error("the parameter {0} cannot be set")]
    NotAllowed(String),
    #[error("the value of the parameter {0} is not one line of at most 1000 characters")]
    Value(String),
}

/// Not PostgreSQL's own: 1 refuses connections without TLS.
pub const FORCE_SSL: &str = "rds.force_ssl";

/// In the order of PostgreSQL's manual.
const ALLOWED: &[&str] = &[
    FORCE_SSL,
    // Connections
    "max_connections",
    "superuser_reserved_connections",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
    "client_connection_check_interval",
    "authentication_timeout",
    "ssl_min_protocol_version",
    "ssl_ciphers",
    // Memory
    "shared_buffers",
    "huge_pages",
    "temp_buffers",
    "max_prepared_transactions",
    "work_mem",
    "hash_mem_multiplier",
    "maintenance_work_mem",
    "autovacuum_work_mem",
    "logical_decoding_work_mem",
    "max_stack_depth",
    "temp_file_limit",
    "max_files_per_process",
    // Vacuum, background writer, workers
    "vacuum_cost_delay",
    "vacuum_cost_page_hit",
    "vacuum_cost_page_miss",
    "vacuum_cost_page_dirty",
    "vacuum_cost_limit",
    "bgwriter_delay",
    "bgwriter_lru_maxpages",
    "bgwriter_lru_multiplier",
    "bgwriter_flush_after",
    "backend_flush_after",
    "effective_io_concurrency",
    "maintenance_io_concurrency",
    "max_worker_processes",
    "max_parallel_workers_per_gather",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "parallel_leader_participation",
    // Write-ahead log; synchronous_commit is every user's own choice in any session
    "wal_level",
    "synchronous_commit",
    "wal_compression",
    "wal_init_zero",
    "wal_recycle",
    "wal_buffers",
    "wal_writer_delay",
    "wal_writer_flush_after",
    "wal_skip_threshold",
    "wal_log_hints",
    "commit_delay",
    "commit_siblings",
    "checkpoint_timeout",
    "checkpoint_completion_target",
    "checkpoint_flush_after",
    "checkpoint_warning",
    "max_wal_size",
    "min_wal_size",
    // Logical replication
    "max_wal_senders",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "wal_keep_size",
    "wal_sender_timeout",
    "track_commit_timestamp",
    "max_logical_replication_workers",
    "max_sync_workers_per_subscription",
    // Planner
    "enable_async_append",
    "enable_bitmapscan",
    "enable_gathermerge",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_incremental_sort",
    "enable_indexscan",
    "enable_indexonlyscan",
    "enable_material",
    "enable_memoize",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_parallel_append",
    "enable_parallel_hash",
    "enable_partition_pruning",
    "enable_partitionwise_join",
    "enable_partitionwise_aggregate",
    "enable_seqscan",
    "enable_sort",
    "enable_tidscan",
    "seq_page_cost",
    "random_page_cost",
    "cpu_tuple_cost",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "min_parallel_table_scan_size",
    "min_parallel_index_scan_size",
    "effective_cache_size",
    "jit",
    "jit_above_cost",
    "jit_inline_above_cost",
    "jit_optimize_above_cost",
    "geqo",
    "geqo_threshold",
    "default_statistics_target",
    "constraint_exclusion",
    "cursor_tuple_fraction",
    "from_collapse_limit",
    "join_collapse_limit",
    "plan_cache_mode",
    // Log, statistics
    "log_min_messages",
    "log_min_error_statement",
    "log_min_duration_statement",
    "log_autovacuum_min_duration",
    "log_checkpoints",
    "log_connections",
    "log_disconnections",
    "log_duration",
    "log_error_verbosity",
    "log_hostname",
    "log_lock_waits",
    "log_statement",
    "log_temp_files",
    "track_activities",
    "track_activity_query_size",
    "track_counts",
    "track_io_timing",
    "track_wal_io_timing",
    "track_functions",
    // Autovacuum
    "autovacuum",
    "autovacuum_max_workers",
    "autovacuum_naptime",
    "autovacuum_vacuum_threshold",
    "autovacuum_vacuum_insert_threshold",
    "autovacuum_analyze_threshold",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_analyze_scale_factor",
    "autovacuum_freeze_max_age",
    "autovacuum_multixact_freeze_max_age",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_vacuum_cost_limit",
    // Sessions
    "client_min_messages",
    "search_path",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
    "default_toast_compression",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "vacuum_freeze_table_age",
    "vacuum_freeze_min_age",
    "vacuum_failsafe_age",
    "vacuum_multixact_freeze_table_age",
    "vacuum_multixact_freeze_min_age",
    "vacuum_multixact_failsafe_age",
    "bytea_output",
    "xmlbinary",
    "xmloption",
    "gin_fuzzy_search_limit",
    "gin_pending_list_limit",
    "datestyle",
    "intervalstyle",
    "timezone",
    "extra_float_digits",
    "client_encoding",
    "default_text_search_config",
    "deadlock_timeout",
    "max_locks_per_transaction",
    "max_pred_locks_per_transaction",
    "array_nulls",
    "backslash_quote",
    "escape_string_warning",
    "lo_compat_privileges",
    "quote_all_identifiers",
    "standard_conforming_strings",
    "synchronize_seqscans",
    "transform_null_equals",
    "row_security",
    "check_function_bodies",
    "session_replication_role",
    "default_table_access_method",
];

/// Checks that every parameter may be set.
///
/// # Errors
/// The first that may not.
pub fn check(parameters: &BTreeMap<String, String>) -> Result<(), InvalidParameter> {
    for (name, value) in parameters {
        if !ALLOWED.contains(&name.as_str()) {
            return Err(InvalidParameter::NotAllowed(name.clone()));
        }
        if value.len() > 1000 || value.chars().any(char::is_control) {
            return Err(InvalidParameter::Value(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<(), InvalidParameter> {
        check(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_harms_the_data_or_leaves_the_volume_is_refused() {
        for name in [
            "fsync",
            "full_page_writes",
            "data_sync_retry",
            "data_directory",
            "config_file",
            "hba_file",
            "ident_file",
            "include",
            "archive_command",
            "archive_library",
            "restore_command",
            "ssl",
            "ssl_key_file",
            "ssl_passphrase_command",
            "shared_preload_libraries",
            "session_preload_libraries",
            "local_preload_libraries",
            "dynamic_library_path",
            "jit_provider",
            "listen_addresses",
            "port",
            "unix_socket_directories",
            "log_directory",
            "log_filename",
            "log_destination",
            "external_pid_file",
            "zero_damaged_pages",
            "ignore_checksum_failure",
            "allow_system_table_mods",
            "wal_sync_method",
            "password_encryption",
            "FSYNC",
            "",
            "work_mem = 1\nfsync",
        ] {
            assert_eq!(with(name, "1"), Err(InvalidParameter::NotAllowed(name.into())));
        }
    }

    #[test]
    fn a_value_is_one_line() {
        assert_eq!(with("work_mem", "64MB"), Ok(()));
        for bad in ["1\nfsync = off", "1\0", "1\r", &"1".repeat(1001)] {
            assert_eq!(with("work_mem", bad), Err(InvalidParameter::Value("work_mem".into())));
        }
    }

    #[test]
    fn the_list_has_no_name_twice() {
        let names: std::collections::BTreeSet<_> = ALLOWED.iter().collect();
        assert_eq!(names.len(), ALLOWED.len());
    }
}
