//! TLS over real sockets of this machine, with rustls at both ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use net::{Address, Connect, Listener, Stream, listen};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{sleep, timeout};

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), future).await.expect("a test that hangs") })
}

/// What both ends are told, for the name `localhost`.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// The same for early data, with a ticket for it in the client's hands.
async fn early_configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let (server, client) = configs();
    let (mut server, mut client) = (Arc::unwrap_or_clone(server), Arc::unwrap_or_clone(client));
    server.max_early_data_size = 16 << 10;
    server.send_half_rtt_data = true;
    client.enable_early_data = true;
    let (server, client) = (Arc::new(server), Arc::new(client));
    let (mut ours, mut theirs) = connected().await;
    ours.start_tls(hello(&client).into(), Vec::new());
    theirs.start_tls(ServerConnection::new(server.clone()).unwrap().into(), Vec::new());
    let (shaken, also) = tokio::join!(ours.handshake(), theirs.handshake());
    shaken.unwrap();
    also.unwrap();
    theirs.write_all(b"x").await.unwrap();
    assert_eq!(ours.read(&mut Vec::new(), 1).await.unwrap(), 1);
    (server, client)
}

fn hello(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// What a client has to send, as bytes of TLS.
fn flight(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Both ends of a new connection over TCP, without TLS: (client, server).
async fn connected() -> (Stream, Stream) {
    let any_port = Address::Inet("127.0.0.1:0".parse().unwrap());
    let fd = listen::bind(&any_port, &listen::Options::default()).unwrap();
    let listener = Listener::new(fd.as_fd()).unwrap();
    let client = Stream::connect(&listener.local_addr().unwrap(), &Connect::default()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Both ends of a new connection with TLS, hands shaken: (client, server).
async fn secured() -> (Stream, Stream) {
    let (mut client, mut server) = connected().await;
    let (server_config, client_config) = configs();
    let name = ServerName::try_from("localhost").unwrap();
    client.start_tls(ClientConnection::new(client_config, name).unwrap().into(), Vec::new());
    server.start_tls(ServerConnection::new(server_config).unwrap().into(), Vec::new());
    let (ours, theirs) = tokio::join!(client.handshake(), server.handshake());
    ours.unwrap();
    theirs.unwrap();
    (client, server)
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
fn bytes_go_both_ways_and_nothing_is_lost_where_the_socket_is_full() {
    run(async {
        let (mut client, mut server) = secured().await;
        assert!(client.tls().is_some() && !client.sends_files());
        let payload: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sending = async {
            client.write_all(&payload).await.unwrap();
            client.shutdown_write().unwrap();
        };
        let reading = async {
            // Far slower than the client sends, and in pieces of any size.
            let mut all = Vec::new();
            for most in [1, 5, 16_384, 16_385, 100_000].into_iter().cycle() {
                let before = all.len();
                let read = server.read(&mut all, most).await.unwrap();
                assert!(read <= most && all.len() == before + read);
                if read == 0 {
                    return all;
                }
            }
            unreachable!("the cycle has no end")
        };
        let ((), received) = tokio::join!(sending, reading);
        assert!(received == payload);
        server.write_all(b"answer").await.unwrap();
        drop(server);
        assert_eq!(read_to_end(&mut client).await.unwrap(), b"answer");
    });
}

#[test]
fn what_was_read_before_tls_began_is_part_of_it() {
    run(async {
        let (mut client, mut server) = connected().await;
        let (_, client_config) = configs();
        let name = ServerName::try_from("localhost").unwrap();
        client.start_tls(ClientConnection::new(client_config, name).unwrap().into(), Vec::new());
        // The client is refused, since its configuration trusts another certificate: that is found out behind its hello.
        let (server_config, _) = configs();
        let serving = async {
            let mut read = Vec::new();
            assert_eq!(server.read(&mut read, 11).await.unwrap(), 11);
            server.start_tls(ServerConnection::new(server_config).unwrap().into(), read);
            server.handshake().await
        };
        let (ours, theirs) = tokio::join!(client.handshake(), serving);
        let refusal = ours.unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::InvalidData);
        assert!(refusal.to_string().contains("certificate"), "{refusal}");
        // The server was told why.
        if let Err(error) = theirs {
            assert!(error.to_string().contains("alert"), "{error}");
        } else {
            let error = server.read(&mut Vec::new(), 1).await.unwrap_err();
            assert!(error.to_string().contains("alert"), "{error}");
        }
    });
}

#[test]
fn what_is_no_tls_is_an_error_and_an_end_in_the_middle_too() {
    run(async {
        let (mut client, mut server) = connected().await;
        let (server_config, _) = configs();
        server.start_tls(ServerConnection::new(server_config.clone()).unwrap().into(), Vec::new());
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(server.handshake().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        // What the peer is told of it is an alert, and nothing else.
        drop(server);
        let told = read_to_end(&mut client).await.unwrap();
        assert_eq!((told.first(), told.len()), (Some(&21), 7));

        let (client, mut server) = connected().await;
        server.start_tls(ServerConnection::new(server_config).unwrap().into(), vec![22, 3, 1]);
        drop(client);
        assert_eq!(server.handshake().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn tickets_leave_a_connection_idle_and_data_or_an_end_do_not() {
    run(async {
        let (mut client, mut server) = secured().await;
        settle().await;
        // The server's tickets have come behind the handshake.
        poll_fn(|cx| client.poll_read_ready(cx)).await.unwrap();
        assert!(client.is_idle());
        assert!(client.is_idle());
        server.write_all(b"more").await.unwrap();
        settle().await;
        assert!(!client.is_idle());
        assert!(!client.peek_closed(), "data is left to read");
        let mut read = Vec::new();
        assert_eq!(client.read(&mut read, 100).await.unwrap(), 4);
        assert!(client.is_idle());
        assert!(!client.peek_closed());
        drop(server);
        settle().await;
        assert!(!client.is_idle());
        assert!(client.peek_closed());
        assert_eq!(client.read(&mut read, 100).await.unwrap(), 0);
    });
}

#[test]
fn a_connection_that_ends_says_so_before_the_socket_does() {
    run(async {
        let (mut client, mut server) = secured().await;
        server.shutdown_write().unwrap();
        settle().await;
        // The alert is there although the socket is open the other way.
        assert!(client.peek_closed());
        client.write_all(b"last words").await.unwrap();
        let mut read = Vec::new();
        assert_eq!(server.read(&mut read, 100).await.unwrap(), 10);
        let nothing = poll_fn(|cx| Poll::Ready(server.poll_write(cx, b"x").is_pending())).await;
        assert!(!nothing, "a write behind goodbye is an error at once");
    });
}

#[test]
fn early_data_is_read_before_hands_are_shaken_and_the_rest_behind_it() {
    run(async {
        let (server_config, client_config) = early_configs().await;
        let early: Vec<u8> = (0..9000_u32).map(|n| (n % 251) as u8).collect();
        let (mut client, mut server) = connected().await;
        let mut connection = hello(&client_config);
        io::Write::write_all(&mut connection.early_data().unwrap(), &early).unwrap();
        server.start_tls(ServerConnection::new(server_config).unwrap().into(), Vec::new());
        // The client says nothing more than its first flight for now.
        client.write_all(&flight(&mut connection)).await.unwrap();
        server.handshake().await.unwrap();
        assert!(server.is_handshaking());
        let mut read = Vec::new();
        for most in [1, 5, 2000].into_iter().cycle() {
            if read.len() == early.len() {
                break;
            }
            let before = read.len();
            let count = server.read(&mut read, most).await.unwrap();
            assert!(count > 0 && count <= most && read.len() == before + count);
        }
        assert!(read == early && server.is_handshaking() && !server.peek_closed());
        // It is answered before it has shaken hands.
        server.write_all(b"early answer").await.unwrap();
        client.start_tls(connection.into(), Vec::new());
        let mut answer = Vec::new();
        client.handshake().await.unwrap();
        assert_eq!(client.read(&mut answer, 100).await.unwrap(), 12);
        assert_eq!(answer, b"early answer");
        client.write_all(b"the rest").await.unwrap();
        read.clear();
        while read.len() < 8 {
            server.read(&mut read, 100).await.unwrap();
        }
        assert_eq!((&*read, server.is_handshaking()), (&b"the rest"[..], false));
        drop(server);
        assert_eq!(read_to_end(&mut client).await.unwrap(), b"");
    });
}

#[test]
fn a_handshake_ends_while_nobody_reads_and_early_data_stays() {
    run(async {
        let (server_config, client_config) = early_configs().await;
        let (mut client, mut server) = connected().await;
        let mut connection = hello(&client_config);
        io::Write::write_all(&mut connection.early_data().unwrap(), b"one two").unwrap();
        client.start_tls(connection.into(), Vec::new());
        server.start_tls(ServerConnection::new(server_config).unwrap().into(), Vec::new());
        let (shaken, begun) = tokio::join!(client.handshake(), server.handshake());
        shaken.unwrap();
        begun.unwrap();
        let mut read = Vec::new();
        assert_eq!(server.read(&mut read, 4).await.unwrap(), 4);
        client.write_all(b" three").await.unwrap();
        // There is still something to read, which is early.
        server.handshake().await.unwrap();
        assert!(server.is_handshaking() && !server.is_idle());
        assert_eq!(server.discard().await.unwrap(), 3);
        server.handshake().await.unwrap();
        assert!(!server.is_handshaking());
        while read.len() < 10 {
            server.read(&mut read, 100).await.unwrap();
        }
        assert_eq!(read, b"one  three");
    });
}

#[test]
fn a_handshake_that_fails_behind_early_data_is_an_error() {
    run(async {
        let (server_config, client_config) = early_configs().await;
        let (mut client, mut server) = connected().await;
        let mut connection = hello(&client_config);
        io::Write::write_all(&mut connection.early_data().unwrap(), b"recorded").unwrap();
        let recorded = flight(&mut connection);
        server.start_tls(ServerConnection::new(server_config.clone()).unwrap().into(), Vec::new());
        client.write_all(&recorded).await.unwrap();
        server.handshake().await.unwrap();
        let mut read = Vec::new();
        assert_eq!(server.read(&mut read, 100).await.unwrap(), 8);
        // Something that nobody without the keys can have sealed.
        client.write_all(&[&[23, 3, 3, 0, 40][..], &[7; 40]].concat()).await.unwrap();
        assert_eq!(server.read(&mut read, 100).await.unwrap_err().kind(), io::ErrorKind::InvalidData);

        // Who sends again what was recorded is not believed: the ticket has been used.
        let (mut client, mut server) = connected().await;
        server.start_tls(ServerConnection::new(server_config).unwrap().into(), Vec::new());
        client.write_all(&recorded).await.unwrap();
        drop(client);
        assert_eq!(server.handshake().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn what_comes_behind_goodbye_is_thrown_away() {
    run(async {
        let (mut client, mut server) = connected().await;
        let (server_config, client_config) = configs();
        server.start_tls(ServerConnection::new(server_config).unwrap().into(), Vec::new());
        let mut connection = hello(&client_config);
        while connection.is_handshaking() {
            client.write_all(&flight(&mut connection)).await.unwrap();
            let mut read = Vec::new();
            let shaking = poll_fn(|cx| {
                let _ = server.poll_handshake(cx);
                client.poll_read(cx, &mut read, 65536)
            });
            shaking.await.unwrap();
            connection.read_tls(&mut &read[..]).unwrap();
            connection.process_new_packets().unwrap();
        }
        connection.send_close_notify();
        let rest = [&*flight(&mut connection), &[0; 20_000]].concat();
        client.write_all(&rest).await.unwrap();
        settle().await;
        assert_eq!(server.read(&mut Vec::new(), 100).await.unwrap(), 0);
    });
}
