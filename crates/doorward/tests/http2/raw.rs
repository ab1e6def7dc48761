//! HTTP/2 frame by frame, also those that no client sends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::support::{Gateway, PATIENCE};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// `GET / http localhost`: three fields of the static table, and one literal (RFC 7541, 6).
pub(crate) const GET: &[u8] = b"\x82\x86\x84\x01\x09localhost";

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A frame that came: kind, stream, payload.
pub(crate) type Frame = (u8, u32, Vec<u8>);

/// A connection that sends bytes as they are, and whose answers are read all the time: GOAWAY, RST_STREAM and HEADERS of them
/// are kept.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    answers: Receiver<Frame>,
}

impl Connection {
    pub(crate) fn open(gateway: &Gateway) -> Connection {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, b"")).unwrap();
        let mut reading = stream.try_clone().unwrap();
        let (told, answers) = channel();
        std::thread::spawn(move || {
            let mut head = [0; 9];
            while reading.read_exact(&mut head).is_ok() {
                let [a, b, c, kind, _, s, t, u, v] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                if reading.read_exact(&mut payload).is_err() {
                    break;
                }
                if matches!(kind, GOAWAY | RST_STREAM | HEADERS) {
                    let _ = told.send((kind, u32::from_be_bytes([s, t, u, v]), payload));
                }
            }
        });
        Connection { stream, answers }
    }

    /// The next frame that comes.
    pub(crate) fn next(&self) -> Frame {
        self.answers.recv_timeout(PATIENCE).unwrap()
    }

    /// Sends nothing more: all other frames that come.
    pub(crate) fn end(self) -> Vec<Frame> {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        self.answers.iter().collect()
    }

    /// The reasons of the GOAWAY frames that came.
    pub(crate) fn farewells(self) -> Vec<u32> {
        let frames = self.end();
        let goaway = frames.iter().filter(|(kind, ..)| *kind == GOAWAY);
        goaway.map(|(.., payload)| u32::from_be_bytes(payload[4..8].try_into().unwrap())).collect()
    }
}
