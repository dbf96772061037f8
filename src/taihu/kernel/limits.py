"""Every bound of the system, by name (§6). `site.toml` may change any under `[limits]`."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named bounds; the unit is the last word of the name, a bare count where there is none."""

    mqtt_connections_max: int = 20_000
    mqtt_connections_per_address_max: int = 20_000
    mqtt_packet_bytes_max: int = 1_048_576
    mqtt_connect_timeout_s: float = 10.0
    mqtt_keepalive_max_s: int = 60
    mqtt_receive_maximum: int = 1_000
    mqtt_topic_alias_max: int = 64
    mqtt_subscriptions_per_session_max: int = 200
    mqtt_topic_levels_max: int = 32
    mqtt_session_expiry_max_s: int = 7 * 86_400
    mqtt_sessions_per_project_max: int = 50_000
    mqtt_offline_queue_messages_max: int = 100_000
    mqtt_offline_queue_bytes_max: int = 67_108_864
    mqtt_retained_per_project_max: int = 100_000
    mqtt_retained_bytes_per_project_max: int = 67_108_864
    mqtt_outbound_bytes_max: int = 4_194_304
    mqtt_outbound_total_bytes_max: int = 268_435_456
    mqtt_queued_messages_per_project_max: int = 10_000_000
    mqtt_queued_bytes_per_project_max: int = 1_073_741_824
    mqtt_queue_memory_bytes_max: int = 262_144
    mqtt_queue_memory_bytes_per_project_max: int = 67_108_864
    mqtt_subscriptions_per_project_max: int = 100_000
    mqtt_client_id_length_max: int = 256
    mqtt_topic_length_max: int = 1_024
    mqtt_inflight_max: int = 1_000
    mqtt_inflight_bytes_max: int = 1_048_576
    mqtt_client_pending_max: int = 10_000
    mqtt_client_pending_bytes_max: int = 16_777_216
    mqtt_client_in_flight_max: int = 20
    commit_window_s: float = 0.005
    commit_pending_bytes_max: int = 33_554_432
    upstream_backlog_bytes_max: int = 8_589_934_592
    aside_records_max: int = 100
    journal_segment_bytes: int = 67_108_864
    journal_retention_bytes: int = 4_294_967_296
    journal_retention_s: int = 7 * 86_400
    flush_rows: int = 100_000
    flush_s: float = 600.0
    snapshot_s: float = 60.0
    worker_lag_bytes_max: int = 1_073_741_824
    storage_bytes_per_project_max: int = 1_099_511_627_776
    things_per_project_max: int = 200_000
    properties_per_thing_max: int = 1_000
    description_bytes_max: int = 1_048_576
    description_depth_max: int = 32
    description_items_max: int = 50_000
    descriptions_bytes_per_project_max: int = 268_435_456
    model_bases_max: int = 8
    certificates_per_thing_max: int = 10
    certificate_request_bytes_max: int = 16_384
    certificate_overlap_s: float = 7 * 86_400
    claim_attempts_per_minute_max: int = 10
    claims_open_max: int = 10_000
    claim_window_max_s: float = 86_400
    provision_things_max: int = 1_000
    join_things_max: int = 1_000
    join_things_per_minute_max: int = 60
    joins_waiting_max: int = 20_000
    sparkplug_nodes_max: int = 20_000
    sparkplug_metrics_max: int = 2_000_000
    bridge_topics_max: int = 100_000
    bridge_heard_bytes_max: int = 67_108_864
    quarantine_entries_per_thing_max: int = 20
    quarantine_entries_max: int = 2_000
    quarantine_payload_bytes_max: int = 512
    payload_depth_max: int = 8
    payload_array_items_max: int = 64
    payload_rows_max: int = 10_000
    bundle_bytes_max: int = 16_777_216
    future_tolerance_s: float = 300.0
    tail_queue_max: int = 1_000
    tail_watchers_per_project_max: int = 20
    observers_max: int = 4_000
    observers_per_project_max: int = 2_000
    observer_queue_max: int = 1_000
    observer_queue_bytes_max: int = 65_536
    observer_heartbeat_s: float = 15.0
    observer_linger_s: float = 60.0
    directory_watchers_per_project_max: int = 100
    directory_page_max: int = 1_000
    search_answer_bytes_max: int = 16_777_216
    search_memory_bytes_max: int = 1_073_741_824
    search_query_length_max: int = 1_000
    tickets_per_project_max: int = 1_000
    ticket_s: int = 60
    commands_open_per_thing_max: int = 20
    commands_open_per_project_max: int = 10_000
    commands_per_batch_max: int = 1_000
    commands_kept_per_project_max: int = 1_000
    command_log_days_max: float = 400.0
    command_log_per_project_max: int = 1_000_000
    command_input_bytes_max: int = 65_536
    command_deadline_max_s: float = 7 * 86_400
    decisions_per_controller_max: int = 2_000
    replay_s: float = 600.0
    replay_rows_max: int = 500_000
    standing_permits_per_project_max: int = 10_000
    desired_bytes_per_thing_max: int = 65_536
    device_answer_bytes_max: int = 4_194_304
    http_body_bytes_max: int = 4_194_304
    http_bodies_bytes_max: int = 134_217_728
    http_answers_bytes_max: int = 134_217_728
    http_head_bytes_max: int = 65_536
    http_request_timeout_s: float = 30.0
    http_requests_pending_max: int = 1_000
    http_socket_message_bytes_max: int = 65_536
    password_length_min: int = 12
    password_checks_max: int = 2
    password_checks_waiting_max: int = 50
    sign_in_delay_max_s: float = 300.0
    sign_in_tracked_max: int = 10_000
    session_idle_s: int = 8 * 3_600
    session_lifetime_s: int = 7 * 86_400
    sessions_per_user_max: int = 20
    users_max: int = 10_000
    invite_lifetime_s: int = 86_400
    oidc_flows_max: int = 1_000
    oidc_flow_s: float = 600.0
    oidc_check_s: int = 900
    audit_batch_s: float = 10.0
    audit_batch_entries_max: int = 1_000
    audit_segment_entries: int = 10_000
    audit_retention_s: int = 10 * 365 * 86_400
    grants_per_project_max: int = 1_000
    grant_patterns_max: int = 100
    deletions_pending_max: int = 1_000
    calculation_depth_max: int = 8
    calculation_inputs_max: int = 1_000
    calculation_terms_max: int = 10_000
    opcua_connections_max: int = 100
    opcua_subscriptions_max: int = 500
    opcua_items_per_session_max: int = 10_000
    opcua_queue_max: int = 10
    opcua_nodes_max: int = 20_000
    opcua_message_bytes_max: int = 1_048_576
    query_rows_max: int = 1_000_000
    query_timeout_s: float = 30.0
    query_page_rows: int = 20_000
    query_series_max: int = 10_000
    sql_text_bytes_max: int = 65_536
    sql_timeout_s: float = 30.0
    sql_memory_bytes_max: int = 268_435_456
    sql_rows_max: int = 1_000_000
    sql_answer_bytes_max: int = 67_108_864
    sql_running_max: int = 2
    sql_waiting_max: int = 16
    forecast_series_max: int = 1_000
    forecast_training_s: float = 120.0
    forecast_memory_bytes_max: int = 2_147_483_648
    forecast_retention_s: int = 90 * 86_400


DEFAULT = Limits()
AT_START = frozenset(
    {
        "decisions_per_controller_max",
        "opcua_connections_max",
        "opcua_items_per_session_max",
        "opcua_message_bytes_max",
        "opcua_nodes_max",
        "opcua_queue_max",
        "opcua_subscriptions_max",
        "http_head_bytes_max",
        "http_request_timeout_s",
        "http_socket_message_bytes_max",
        "journal_retention_bytes",
        "journal_retention_s",
        "journal_segment_bytes",
        "mqtt_client_in_flight_max",
        "mqtt_client_pending_bytes_max",
        "mqtt_client_pending_max",
        "password_checks_max",
        "sql_running_max",
    }
)
"""What is read when the node starts, and not again when it takes over a changed configuration."""


def renew(limits: Limits, wanted: Limits) -> None:
    """Give `limits`, and so everybody who was handed it, the values of `wanted`, except those read at the start."""
    for name in Limits.__struct_fields__:
        if name not in AT_START:
            msgspec.structs.force_setattr(limits, name, getattr(wanted, name))
