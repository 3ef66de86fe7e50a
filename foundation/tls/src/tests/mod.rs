mod client;
mod fixture;
mod handshakes;
mod mutual;
mod records;
