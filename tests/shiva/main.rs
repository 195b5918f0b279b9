//! The tests that see SHIVA from outside its modules: one binary, a module for each topic.

mod ctph_is_libfuzzy;
mod disk_full;
mod documents;
mod durability;
mod end_to_end;
mod exactly_once;
mod hostile;
mod hostile_queue;
mod index_is_exact;
mod legacy;
mod mariadb;
mod mariadb_databases;
mod mariadb_outage;
mod mariadb_outage_stuck;
mod mariadb_programs;
mod mariadb_site;
mod message;
mod programs;
mod pseudonyms;
mod rig;
mod shared_messages;
mod smtp_golden;
mod store_relaying;
mod store_suite;
