//! Clients that make work or take memory without asking for anything: each is cut off, and others are served meanwhile.

use std::io::{ErrorKind, Write};

use crate::raw::{
    CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET, HEADERS, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::support::{Gateway, wait_for};

/// The most that a connection may add to the memory of the gateway, in kB.
const MOST_MEMORY: u64 = 32 << 10;

/// Sends frames until the connection is closed: how many bytes that took.
fn flood(attacker: &mut Connection, most: usize, frames: &mut dyn FnMut(usize) -> Vec<u8>) -> usize {
    let mut sent = 0;
    for at in 0.. {
        let bytes = frames(at);
        match attacker.stream.write_all(&bytes) {
            Ok(()) => sent += bytes.len(),
            Err(error) => {
                assert_ne!(
                    error.kind(),
                    ErrorKind::WouldBlock,
                    "the gateway reads no more and does not close"
                );
                return sent;
            }
        }
        assert!(sent < most, "nobody stopped it");
    }
    sent
}

fn gateway() -> Gateway {
    Gateway::start_as(
        "daemon off; worker_processes 1; error_log error.log info; events {}",
        "http { http2 on; large_client_header_buffers 4 8k; send_timeout 1s;
          server { listen 127.0.0.1:{port}; root {dir}; location / { return 200 ok; } location /big {} } }",
        &[("big", &"x".repeat(1 << 20))],
    )
}

/// Resident memory of the worker process, in kB.
fn memory(gateway: &Gateway) -> u64 {
    let master = gateway.id();
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
    let worker = children.split_whitespace().next().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Floods a gateway of its own. Others are served while it goes on, memory stays bounded, and there is one line about it.
fn cut_off(most: usize, frames: &mut dyn FnMut(usize) -> Vec<u8>) -> Vec<u32> {
    let mut gateway = gateway();
    assert_eq!(gateway.get("/", "").status, 200);
    let before = memory(&gateway);
    let mut attacker = Connection::open(&gateway);
    let mut largest = before;
    flood(&mut attacker, most, &mut |at| {
        if at % 500 == 250 {
            assert_eq!(gateway.get("/", "").body, "ok");
            largest = largest.max(memory(&gateway));
        }
        frames(at)
    });
    assert!(largest < before + MOST_MEMORY, "{before} kB before it, {largest} kB at most");
    let farewells = attacker.farewells();
    gateway.says("the connection is closed");
    assert_eq!(gateway.get("/", "").status, 200);
    let log = gateway.end();
    let lines = log.lines().filter(|line| line.contains("[warn]") || line.contains("processing HTTP/2"));
    assert_eq!(lines.count(), 1, "{log}");
    farewells
}

/// Where a connection is closed while its client is still sending, the system may drop what it was told.
fn told(farewells: &[u32], reason: u32) {
    assert!(farewells.iter().all(|said| *said == reason), "{farewells:?}");
}

#[test]
fn rapid_reset() {
    let cancel = 8u32.to_be_bytes();
    let farewells = cut_off(16 << 20, &mut |at| {
        let stream = 2 * at as u32 + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, GET), frame(RST_STREAM, 0, stream, &cancel)]
            .concat()
    });
    told(&farewells, ENHANCE_YOUR_CALM);
}

#[test]
fn continuation_without_end() {
    let farewells = cut_off(16 << 20, &mut |at| match at {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"),
    });
    told(&farewells, ENHANCE_YOUR_CALM);
}

#[test]
fn pings() {
    told(&cut_off(64 << 20, &mut |_| frame(PING, 0, 0, b"in vain.").repeat(100)), ENHANCE_YOUR_CALM);
}

#[test]
fn settings() {
    let window = [&4u16.to_be_bytes()[..], &65_535u32.to_be_bytes()].concat();
    told(&cut_off(64 << 20, &mut |_| frame(SETTINGS, 0, 0, &window).repeat(100)), ENHANCE_YOUR_CALM);
}

#[test]
fn frames_of_no_known_kind() {
    told(&cut_off(64 << 20, &mut |_| frame(99, 0, 0, &[0; 100]).repeat(50)), ENHANCE_YOUR_CALM);
}

#[test]
fn windows_that_grow_without_end() {
    let one = 1u32.to_be_bytes();
    let farewells = cut_off(64 << 20, &mut |_| frame(WINDOW_UPDATE, 0, 0, &one).repeat(100));
    told(&farewells, ENHANCE_YOUR_CALM);
}

#[test]
fn empty_data() {
    let farewells = cut_off(64 << 20, &mut |at| match at {
        0 => frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x84\x01\x09localhost"),
        _ => frame(DATA, 0, 1, b"").repeat(100),
    });
    told(&farewells, ENHANCE_YOUR_CALM);
}

#[test]
fn fields_that_unpack_to_megabytes() {
    // One large field for the table, which then is named by one byte each time.
    let mut large = GET.to_vec();
    large.extend_from_slice(b"\x40\x01a\x7f\xa1\x1e");
    large.extend_from_slice(&[b'b'; 4000]);
    let bomb = [GET, &[0xbe; 12_000]].concat();
    let farewells = cut_off(16 << 20, &mut |at| {
        let stream = 2 * at as u32 + 1;
        let fields = if at == 0 { &large } else { &bomb };
        frame(HEADERS, END_STREAM | END_HEADERS, stream, fields)
    });
    told(&farewells, ENHANCE_YOUR_CALM);
}

#[test]
fn responses_that_nobody_makes_room_for() {
    let gateway = gateway();
    assert_eq!(gateway.get("/", "").status, 200);
    let before = memory(&gateway);
    let mut attacker = Connection::open(&gateway);
    let no_window = [&4u16.to_be_bytes()[..], &0u32.to_be_bytes()].concat();
    attacker.stream.write_all(&frame(SETTINGS, 0, 0, &no_window)).unwrap();
    for at in 0..128 {
        let get = b"\x82\x86\x04\x04/big\x01\x09localhost";
        attacker.stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * at + 1, get)).unwrap();
    }
    wait_for("they run out of time", || {
        assert_eq!(gateway.get("/", "").body, "ok");
        gateway.log().matches("client timed out").count() == 128
    });
    assert!(memory(&gateway) < before + MOST_MEMORY);
    let frames = attacker.end();
    assert_eq!(frames.iter().filter(|(kind, ..)| *kind == RST_STREAM).count(), 128);
}
