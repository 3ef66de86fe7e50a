mod fixture;
mod lint;
mod reading;
mod verify;
