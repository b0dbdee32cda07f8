//! Addresses of a test's own.
//!
//! Some programs must listen where the test says: they come back at the same address after a
//! restart, or others must know it first. A port that is bound, read and freed again may be taken
//! before the program has it. So the test takes a whole address instead: Linux accepts all of
//! 127.0.0.0/8 without setting anything up, and everybody else uses 127.0.0.1. The claim is a bound
//! UDP socket, which excludes other tests on this machine, in whatever process.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Below the range that the system takes ports from by itself, and used by nothing well known: a
/// server that listens at 0.0.0.0 would have this port of all addresses.
const FIRST_PORT: u16 = 24_200;

/// An address that no other test has while this value lives.
#[derive(Debug)]
pub struct Loopback {
    ip: Ipv4Addr,
    _claim: UdpSocket,
}

impl Loopback {
    pub fn claim() -> Self {
        loop {
            // 127.0.0.x is left to everybody else.
            let ip = Ipv4Addr::new(
                127,
                fastrand::u8(1..=254),
                fastrand::u8(0..=255),
                fastrand::u8(1..=254),
            );
            match UdpSocket::bind((ip, FIRST_PORT)) {
                Ok(claim) => return Self { ip, _claim: claim },
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => panic!("{ip} cannot be bound: {error}"),
            }
        }
    }

    /// One of the address's ports. The same `number` is the same port.
    pub fn port(&self, number: u16) -> SocketAddr {
        (self.ip, FIRST_PORT + number).into()
    }
}
