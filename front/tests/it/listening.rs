//! Sockets a front did not open itself, and those it gives to the front that takes its place.

use std::net::{Shutdown, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};
use tempest_front::{Error, FrontConfig, Inherited, Spoken};

use crate::{
    restart::serve,
    scene::{Running, Scene, config},
    server::eventually,
};

fn given(sockets: impl IntoIterator<Item = (Spoken, TcpListener)>) -> Inherited {
    let mut inherited = Inherited::default();
    sockets.into_iter().for_each(|(spoken, socket)| inherited.add(spoken, socket));
    inherited
}

fn bound() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket.into()
}

fn served(front: &Running) -> bool {
    front.get("/").text() == "served"
}

#[test]
fn it_serves_on_the_socket_it_was_given_and_opens_none() {
    let scene = Scene::new();
    serve(scene.redis.client());
    let socket = bound();
    let address = socket.local_addr().expect("bound");
    assert!(TcpStream::connect(address).is_err(), "nobody listens yet");
    // Whoever listens there already would make it fail.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let config = FrontConfig { listen: vec![taken.local_addr().expect("bound").to_string()], ..config() };
    let sockets = given([(Spoken::Http, socket)]);
    let front = scene.try_front_on(&scene.redis.url(), config, sockets).expect("it starts");
    assert_eq!(front.address, address);
    eventually("it serves", || served(&front));
}

#[test]
fn a_socket_for_something_else_does_not_stand_in_for_http() {
    let scene = Scene::new();
    serve(scene.redis.client());
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("bound");
    let sockets = given([(Spoken::Admin, other)]);
    let front = scene.try_front_on(&scene.redis.url(), config(), sockets).expect("it starts");
    assert_ne!(front.address, address);
    eventually("it serves", || served(&front));
}

#[test]
fn a_socket_that_cannot_listen_is_said() {
    let scene = Scene::new();
    let listening = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listening.local_addr().expect("bound")).expect("connected");
    client.shutdown(Shutdown::Both).expect("connected");
    let connected = TcpListener::from(std::os::fd::OwnedFd::from(client));
    let sockets = given([(Spoken::Http, connected)]);
    let error = scene.try_front_on(&scene.redis.url(), config(), sockets).err().expect("refused");
    assert!(matches!(error, Error::Inherited(_)), "{error}");
    assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
}

#[test]
fn a_front_that_was_given_the_sockets_goes_on_where_the_other_stops() {
    let scene = Scene::new();
    serve(scene.redis.client());
    let mut old = scene.front_with(FrontConfig { stop_delay_ms: 600_000, ..config() });
    let mut sockets = Inherited::default();
    for (spoken, socket) in old.handle().sockets().expect("descriptors") {
        sockets.add(spoken, socket.into());
    }
    let new = scene.try_front_on(&scene.redis.url(), config(), sockets).expect("it starts");
    assert_eq!(new.address, old.address);
    eventually("it serves", || served(&new));
    old.handle().replaced();
    old.stop();
    old.ended(); // without the delay: readiness is the other one's concern
    assert_eq!(old.handle().sockets().expect("none").len(), 0, "it holds nothing open");
    assert!((0..50).all(|_| served(&new)));
    drop(new);
    eventually("nobody listens", || TcpStream::connect(old.address).is_err());
}
