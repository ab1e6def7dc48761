//! Listening, connecting, reading and writing, and keeping idle connections, over real sockets of this machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use net::pool::{Limits, Pooled};
use net::{Address, Connect, Keepalive, Listener, Pool, Stream, listen};
use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{sleep, timeout};

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), future).await.expect("a test that hangs") })
}

fn any_port() -> Address {
    Address::Inet("127.0.0.1:0".parse().unwrap())
}

fn open(address: &Address, options: &listen::Options) -> (Listener, OwnedFd) {
    let fd = listen::bind(address, options).unwrap();
    (Listener::new(fd.as_fd()).unwrap(), fd)
}

/// Both ends of a new connection over TCP: (client, server).
async fn connected() -> (Stream, Stream) {
    let (listener, _) = open(&any_port(), &listen::Options::default());
    let client = Stream::connect(&listener.local_addr().unwrap(), &Connect::default()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Gives the event loop time to hear of what has happened.
async fn settle() {
    sleep(Duration::from_millis(30)).await;
}

async fn read_to_end(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while stream.read(&mut all, 65536).await? > 0 {}
    Ok(all)
}

#[test]
fn bytes_go_both_ways_over_tcp_and_unix_sockets() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        for address in
            [any_port(), Address::Inet("[::1]:0".parse().unwrap()), Address::Unix(directory.path().join("s"))]
        {
            let (listener, _) = open(&address, &listen::Options::default());
            let to = listener.local_addr().unwrap();
            let mut client = Stream::connect(&to, &Connect::default()).await.unwrap();
            let (mut server, peer) = listener.accept().await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), to);
            assert_eq!(client.local_addr().unwrap(), peer);
            assert_eq!(server.tcp_info().is_ok_and(|info| info.snd_cwnd > 0), peer.port().is_some());

            let mut parts = [IoSlice::new(b""), IoSlice::new(b"head "), IoSlice::new(b"body")];
            client.write_all_vectored(&mut parts).await.unwrap();
            client.shutdown_write().unwrap();
            // Appended to what is there, no more than asked for.
            let mut bytes = b"> ".to_vec();
            assert_eq!(server.read(&mut bytes, 3).await.unwrap(), 3);
            assert_eq!(bytes, b"> hea");
            assert_eq!(read_to_end(&mut server).await.unwrap(), b"d body");
            server.write_all(b"answer").await.unwrap();
            drop(server);
            assert_eq!(read_to_end(&mut client).await.unwrap(), b"answer");
        }
    });
}

#[test]
fn a_unix_socket_that_exists_is_in_use_and_anyone_may_connect() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let address = Address::Unix(path.clone());
    drop(listen::bind(&address, &listen::Options::default()).unwrap());
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o666);
    let failed = listen::bind(&address, &listen::Options::default()).unwrap_err();
    assert_eq!((failed.call, failed.error.kind()), ("bind()", io::ErrorKind::AddrInUse));
}

#[test]
fn a_socket_listens_as_it_was_asked_to() {
    run(async {
        let options = listen::Options {
            reuseport: true,
            deferred: true,
            fastopen: Some(16),
            rcvbuf: Some(50_000),
            sndbuf: Some(60_000),
            keepalive: Some(Keepalive { on: true, idle: Some(77), interval: None, count: Some(3) }),
            ..listen::Options::default()
        };
        let (listener, fd) = open(&any_port(), &options);
        let address = listener.local_addr().unwrap();
        // A second socket on the same address, and a third without being asked.
        listen::bind(&address, &options).unwrap();
        assert!(listen::bind(&address, &listen::Options::default()).is_err());

        let mut client = Stream::connect(&address, &Connect::default()).await.unwrap();
        let early = timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(early.is_err(), "accepted before there was data");
        client.write_all(b"x").await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let raw = socket2::SockRef::from(&server);
        assert!(raw.keepalive().unwrap());
        assert_eq!(raw.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        assert_eq!(raw.tcp_keepalive_retries().unwrap(), 3);
        // The kernel doubles what it is asked for.
        assert_eq!(socket2::SockRef::from(&fd).recv_buffer_size().unwrap(), 100_000);

        listen::reconfigure(fd.as_fd(), &address, &listen::Options::default()).unwrap();
        let _silent = Stream::connect(&address, &Connect::default()).await.unwrap();
        listener.accept().await.unwrap();
        // The file is still listening when one worker has stopped.
        drop(listener);
        Stream::connect(&address, &Connect::default()).await.unwrap();
    });
}

#[test]
fn a_connection_starts_from_the_address_given() {
    run(async {
        let (listener, _) = open(&any_port(), &listen::Options::default());
        let options = Connect {
            bind: Some("127.0.0.7:0".parse().unwrap()),
            nodelay: true,
            rcvbuf: Some(40_000),
            ..Connect::default()
        };
        let client = Stream::connect(&listener.local_addr().unwrap(), &options).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert!(peer.to_string().starts_with("127.0.0.7:"), "{peer}");
        assert!(socket2::SockRef::from(&client).tcp_nodelay().unwrap());
        drop(listener);
    });
}

#[test]
fn a_slow_reader_gets_everything() {
    run(async {
        let (mut client, mut server) = connected().await;
        let large: Vec<u8> = (0..6_000_000_u32).map(|number| (number / 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&large).unwrap();
        let expected = [&large[..], &large, &large[1000..]].concat();
        let writer = tokio::task::spawn_local(async move {
            server.write_all(&large).await.unwrap();
            let (one, other) = large.split_at(1_000_001);
            server.write_all_vectored(&mut [IoSlice::new(one), IoSlice::new(other)]).await.unwrap();
            let mut at = 1000;
            while at < large.len() {
                let sent = server.sendfile(file.as_fd(), at as u64, large.len() - at).await.unwrap();
                assert!(sent > 0);
                at += sent;
            }
            assert_eq!(server.sendfile(file.as_fd(), at as u64, 10).await.unwrap(), 0);
        });
        // The writer meets a full socket first.
        settle().await;
        assert!(read_to_end(&mut client).await.unwrap() == expected);
        writer.await.unwrap();
    });
}

#[test]
fn a_write_to_a_full_socket_is_partial_and_then_waits() {
    run(async {
        let (mut client, _server) = connected().await;
        let large = vec![0; 64_000_000];
        let first = poll_fn(|cx| client.poll_write(cx, &large)).await.unwrap();
        assert!(0 < first && first < large.len());
        let rest = poll_fn(|cx| Poll::Ready(client.poll_write(cx, &large).is_pending()));
        assert!(rest.await);
    });
}

#[test]
fn an_idle_connection_knows_data_from_silence_and_end() {
    run(async {
        let (mut client, mut server) = connected().await;
        assert!(client.is_idle() && !client.peek_closed());
        server.write_all(b"12345678").await.unwrap();
        settle().await;
        assert!(!client.is_idle() && !client.peek_closed());

        // Read to the brim: the event loop does not know that it was all.
        let mut bytes = Vec::with_capacity(8);
        assert_eq!(client.read(&mut bytes, 8).await.unwrap(), 8);
        assert!(client.is_idle());
        // And waiting goes on to work after the question.
        server.write_all(b"more").await.unwrap();
        client.read_ready().await.unwrap();
        assert_eq!(client.discard().await.unwrap(), 4);
        assert!(client.is_idle());

        drop(server);
        settle().await;
        assert!(!client.is_idle() && client.peek_closed());
        assert_eq!(client.discard().await.unwrap(), 0);
    });
}

#[test]
fn a_task_that_has_used_up_its_turn_still_sees_data() {
    run(async {
        let (mut client, mut server) = connected().await;
        server.write_all(b"x").await.unwrap();
        settle().await;
        // Asking again and again within one poll uses up what tokio lets a task do at a time.
        let exhausted = poll_fn(|cx| {
            let mut turns = 0;
            while client.poll_read_ready(cx).is_ready() && turns < 1000 {
                turns += 1;
            }
            assert!(turns < 1000);
            Poll::Ready(client.is_idle())
        });
        assert!(!exhausted.await);
    });
}

#[test]
fn a_reset_reaches_the_peer_as_such() {
    run(async {
        let (mut client, server) = connected().await;
        server.reset();
        let error = client.read(&mut Vec::new(), 10).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(!client.is_idle());
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    run(async {
        let (listener, fd) = open(&any_port(), &listen::Options::default());
        let address = listener.local_addr().unwrap();
        drop((listener, fd));
        let error = Stream::connect(&address, &Connect::default()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let missing = Address::Unix("/nonexistent/socket".into());
        let error = Stream::connect(&missing, &Connect::default()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    });
}

const LIMITS: Limits = Limits { connections: 3, requests: 10, time: 60_000, timeout: 60_000 };

fn port(pooled: &Pooled) -> Option<u16> {
    pooled.stream.local_addr().unwrap().port()
}

#[test]
fn the_pool_gives_the_warmest_connection_and_closes_the_coldest() {
    run(async {
        let mut pool = Pool::new(LIMITS);
        let mut servers = Vec::new();
        let mut ports = Vec::new();
        for key in ["a", "b", "a", "a"] {
            let (client, server) = connected().await;
            let pooled = Pooled::new(client);
            ports.push(port(&pooled));
            servers.push(server);
            assert!(pool.put(key, pooled));
            settle().await;
        }
        // Three are kept of the four: the first is closed, though its key has the most.
        assert!(pool.is_over());
        pool.trim();
        settle().await;
        assert_eq!(pool.len(), 3);
        assert!(servers[0].peek_closed() && !servers[1].peek_closed());
        assert_eq!(pool.take(&"a").as_ref().map(port), Some(ports[3]));
        assert_eq!(pool.take(&"a").as_ref().map(port), Some(ports[2]));
        assert!(pool.take(&"a").is_none() && pool.take(&"c").is_none());
        assert_eq!(pool.len(), 1);
    });
}

#[test]
fn the_pool_drops_connections_that_the_peer_closed_or_spoke_on() {
    run(async {
        let mut pool = Pool::new(LIMITS);
        let (good, _kept) = connected().await;
        let (closed, server) = connected().await;
        let (spoken, mut speaker) = connected().await;
        let expected = Pooled::new(good);
        let known = port(&expected);
        for pooled in [expected, Pooled::new(closed), Pooled::new(spoken)] {
            assert!(pool.put("a", pooled));
        }
        drop(server);
        speaker.write_all(b"HTTP/1.1 408 Request Timeout").await.unwrap();
        settle().await;
        assert_eq!(pool.take(&"a").as_ref().map(port), Some(known));
        assert!(pool.is_empty());
    });
}

#[test]
fn the_pool_keeps_its_limits() {
    run(async {
        let keep = async |limits: Limits, requests, age| {
            let (client, server) = connected().await;
            let opened = net::clock::now() - age;
            let mut pool = Pool::new(limits);
            let kept = pool.put("a", Pooled { stream: client, requests, opened });
            (pool, kept, server)
        };
        assert!(keep(LIMITS, 9, 59_000).await.1);
        assert!(!keep(LIMITS, 10, 0).await.1);
        assert!(!keep(LIMITS, 0, 61_000).await.1);
        assert!(!keep(Limits { connections: 0, ..LIMITS }, 0, 0).await.1);

        let (mut pool, _, _server) = keep(LIMITS, 0, 0).await;
        pool.sweep();
        assert_eq!(pool.len(), 1);
        let short = Limits { timeout: 20, ..LIMITS };
        let (mut pool, _, mut server) = keep(short.clone(), 0, 0).await;
        sleep(Duration::from_millis(50)).await;
        pool.sweep();
        assert!(pool.is_empty());
        settle().await;
        assert!(server.peek_closed());

        let (mut pool, _, _server) = keep(short, 0, 0).await;
        sleep(Duration::from_millis(50)).await;
        assert!(pool.take(&"a").is_none());
    });
}
