//! The numbers of the process and of the program, by the names that Prometheus' own libraries give them.

use std::fs;
use std::sync::LazyLock;

use super::{Family, Kind, Reading};
use crate::exchange::Exchange;
use crate::worker::Counters;

static UP: Family = Family { name: "nginx_up", help: "Whether the metrics could be read: always 1." };
static ACCEPTED: Family = Family { name: "nginx_connections_accepted", help: "Connections accepted." };
static HANDLED: Family = Family { name: "nginx_connections_handled", help: "Connections handled." };
static ACTIVE: Family = Family { name: "nginx_connections_active", help: "Connections open." };
static READING: Family =
    Family { name: "nginx_connections_reading", help: "Connections whose request is being read." };
static WRITING: Family =
    Family { name: "nginx_connections_writing", help: "Connections whose request is being answered." };
static WAITING: Family =
    Family { name: "nginx_connections_waiting", help: "Connections that wait for a request." };
static REQUESTS: Family = Family { name: "nginx_http_requests_total", help: "Requests of clients." };
static BUILD: Family = Family { name: "doorward_build_info", help: "The program: always 1." };
static GENERATION: Family = Family {
    name: "doorward_config_generation",
    help: "The configuration in force: how many came before it since the start.",
};
static RELOADS: Family = Family {
    name: "doorward_reloads_total",
    help: "Reloads that put a new configuration in force (success) or changed nothing (failure).",
};
static SUCCESSFUL: Family = Family {
    name: "doorward_config_last_reload_successful",
    help: "Whether the last reload put a new configuration in force (1 where there was none yet).",
};
static CPU: Family =
    Family { name: "process_cpu_seconds_total", help: "Time that processors spent on the worker process." };
static RESIDENT: Family =
    Family { name: "process_resident_memory_bytes", help: "Memory of the worker process." };
static VIRTUAL: Family =
    Family { name: "process_virtual_memory_bytes", help: "Address space of the worker process." };
static OPEN_FILES: Family =
    Family { name: "process_open_fds", help: "Files that the worker process has open." };
static MOST_FILES: Family =
    Family { name: "process_max_fds", help: "Files that the worker process may have open." };
static START: Family = Family {
    name: "process_start_time_seconds",
    help: "When the worker process was started, in seconds since 1970.",
};

/// What is known beside what a configuration counts.
pub fn readings(ex: &Exchange<'_>) -> Vec<Reading> {
    let mut all = Vec::new();
    let mut add = |family, kind, labels, value: f64| {
        all.push(Reading { family, kind, labels, value: Box::new(move || value) });
    };
    let (counter, gauge) = (Kind::Counter, Kind::Gauge);
    let connections = Connections::of(&ex.visit.worker.counters);
    add(&UP, gauge, Vec::new(), 1.0);
    add(&ACCEPTED, counter, Vec::new(), connections.accepted as f64);
    add(&HANDLED, counter, Vec::new(), connections.accepted as f64);
    add(&ACTIVE, gauge, Vec::new(), connections.active as f64);
    add(&READING, gauge, Vec::new(), connections.reading as f64);
    add(&WRITING, gauge, Vec::new(), connections.writing as f64);
    add(&WAITING, gauge, Vec::new(), connections.waiting as f64);
    add(&REQUESTS, counter, Vec::new(), connections.requests as f64);
    let config = ex.visit.config;
    let build = vec![
        ("version", crate::product::VERSION.to_owned()),
        ("nginx_version", crate::product::NGINX_VERSION.to_owned()),
    ];
    add(&BUILD, gauge, build, 1.0);
    add(&GENERATION, gauge, Vec::new(), config.generation as f64);
    let reloads = &config.zones.reloads;
    for (result, number) in [("success", &reloads.succeeded), ("failure", &reloads.failed)] {
        add(&RELOADS, counter, vec![("result", result.to_owned())], number.get() as f64);
    }
    add(&SUCCESSFUL, gauge, Vec::new(), f64::from(u8::from(!reloads.last_failed())));
    if let Some(process) = Process::read() {
        add(&CPU, counter, Vec::new(), process.cpu);
        add(&RESIDENT, gauge, Vec::new(), process.resident);
        add(&VIRTUAL, gauge, Vec::new(), process.address_space);
        add(&START, gauge, Vec::new(), process.started);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open while it is read.
        add(&OPEN_FILES, gauge, Vec::new(), files.count().saturating_sub(1) as f64);
    }
    if let Some(most) = most_files() {
        add(&MOST_FILES, gauge, Vec::new(), most);
    }
    all
}

/// What connections there are and were, as `stub_status` shows it.
pub struct Connections {
    /// Accepted since the start.
    pub accepted: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Open now.
    pub active: u64,
    /// Whose request is being read.
    pub reading: u64,
    /// Whose request is being answered.
    pub writing: u64,
    /// Neither.
    pub waiting: u64,
}

impl Connections {
    /// The numbers of this moment.
    pub fn of(counters: &Counters) -> Connections {
        let read =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let (active, reading, writing) =
            (read(&counters.active), read(&counters.reading), read(&counters.writing));
        Connections {
            accepted: read(&counters.accepted),
            requests: read(&counters.requests),
            active,
            reading,
            writing,
            waiting: active.saturating_sub(reading + writing),
        }
    }
}

/// What the kernel says of this process (proc(5)).
struct Process {
    cpu: f64,
    resident: f64,
    address_space: f64,
    started: f64,
}

/// The kernel tells times to programs in hundredths of a second, whatever it counts in itself.
const TICKS: f64 = 100.0;

impl Process {
    fn read() -> Option<Process> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        // Counted from 1 as in proc(5), where the state is the third.
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
        Some(Process {
            cpu: (field(14)? + field(15)?) / TICKS,
            address_space: field(23)?,
            resident: resident()?,
            started: *BOOTED + field(22)? / TICKS,
        })
    }
}

fn resident() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// When the machine was started, in seconds since 1970.
static BOOTED: LazyLock<f64> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0.0)
});

fn most_files() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
