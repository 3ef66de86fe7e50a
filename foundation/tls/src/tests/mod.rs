mod fixture;
mod handshakes;
mod records;
