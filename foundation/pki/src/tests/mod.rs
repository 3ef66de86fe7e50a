mod choice;
mod fixture;
mod lint;
mod reading;
mod revocation;
mod verify;
