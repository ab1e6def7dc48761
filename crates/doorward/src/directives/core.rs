//! Directives outside `http {}`: the processes and their events.

use conf::Arg::{Flag, Many, Number, Offset, Optional, Text, Time};

use super::contexts::{ANY, EVENTS, MAIN};
use super::verdict::{
    BY_SERVICE, NO_DEBUG, NO_ENGINE, NO_MAIL, NO_MODULES, NO_STREAM, NO_THREADS, OWN_EVENTS, OWN_REGEX,
    OWN_TLS_CACHE, READ_IN_PLACE,
};
use super::{Row, free, row};

pub(super) static ROWS: &[Row] = &[
    row("multi_accept", EVENTS, &[Flag], OWN_EVENTS),
    row("worker_connections", EVENTS, &[Number], OWN_EVENTS),
    row("use", EVENTS, &[Text("method")], OWN_EVENTS),
    row("accept_mutex", EVENTS, &[Flag], OWN_EVENTS),
    row("timer_resolution", MAIN, &[Time], OWN_EVENTS),
    row("lock_file", MAIN, &[Text("file")], OWN_EVENTS),
    row("debug_points", MAIN, &[Text("abort | stop")], NO_DEBUG),
    row("worker_priority", MAIN, &[Text("number")], BY_SERVICE),
    row("worker_cpu_affinity", MAIN, &[Many(&Text("cpumask"))], BY_SERVICE),
    row("worker_rlimit_core", MAIN, &[Offset], BY_SERVICE),
    row("working_directory", MAIN, &[Text("directory")], BY_SERVICE),
    row("env", MAIN, &[Text("variable")], BY_SERVICE),
    row("load_module", MAIN, &[Text("file")], NO_MODULES),
    row("pcre_jit", MAIN, &[Flag], OWN_REGEX),
    row("include", ANY, &[Text("file | mask")], READ_IN_PLACE),
    row(
        "thread_pool",
        MAIN,
        &[Text("name"), Text("threads=number"), Optional(&Text("max_queue=number"))],
        NO_THREADS,
    ),
    row("ssl_object_cache_inheritable", MAIN, &[Flag], OWN_TLS_CACHE),
    row("ssl_engine", MAIN, &[Text("device")], NO_ENGINE),
    row("quic_bpf", MAIN, &[Flag], OWN_EVENTS),
    row("google_perftools_profiles", MAIN, &[Text("value")], NO_DEBUG),
    row("accept_mutex_delay", EVENTS, &[Time], OWN_EVENTS),
    row("debug_connection", EVENTS, &[Text("address | CIDR | unix:")], NO_DEBUG),
    row("epoll_events", EVENTS, &[Number], OWN_EVENTS),
    row("worker_aio_requests", EVENTS, &[Number], OWN_EVENTS),
    row("kqueue_changes", EVENTS, &[Number], OWN_EVENTS),
    row("kqueue_events", EVENTS, &[Number], OWN_EVENTS),
    row("devpoll_changes", EVENTS, &[Number], OWN_EVENTS),
    row("devpoll_events", EVENTS, &[Number], OWN_EVENTS),
    row("eventport_events", EVENTS, &[Number], OWN_EVENTS),
    row("iocp_threads", EVENTS, &[Number], OWN_EVENTS),
    row("post_acceptex", EVENTS, &[Number], OWN_EVENTS),
    row("acceptex_read", EVENTS, &[Flag], OWN_EVENTS),
    free("stream", MAIN, &[], NO_STREAM),
    free("mail", MAIN, &[], NO_MAIL),
];
