//! What every kind of store promises, said once and asked of each: in memory, in a file, on a real server. The server is
//! started here and ended by its pid; tests that need one run where the program is installed (`scripts/test` sees to it).

mod promises;
pub(super) mod server;
mod two_processes;

use std::path::PathBuf;

use super::{Opened, Place};
use server::Server;

/// A folder of its own, gone with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("hive2api-store-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("hive2api.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One test of each promise for each kind.
macro_rules! kept {
    ($($promise:ident)*) => {
        mod memory {
            $(#[actix_web::test]
            async fn $promise() {
                super::promises::$promise(&super::Opened::open(&super::Place::Memory).await.unwrap()).await;
            })*
        }

        mod sqlite {
            $(#[actix_web::test]
            async fn $promise() {
                let folder = super::Folder::new();
                let store = super::Opened::open(&super::Place::Sqlite(folder.file())).await.unwrap();
                super::promises::$promise(&store).await;
            })*
        }

        mod valkey {
            $(#[actix_web::test]
            #[ignore = "needs a Valkey or Redis server: scripts/test installs one"]
            async fn $promise() {
                let server = super::Server::start();
                let store = super::Opened::open(&server.place()).await.unwrap();
                super::promises::$promise(&store).await;
            })*
        }
    };
}

kept! {
    an_entry_is_as_it_was_put
    what_has_ended_is_not_there
    only_the_first_of_two_changes_is_made
    a_late_change_is_void
    entries_are_listed_in_pages
    what_has_ended_is_swept_and_what_has_not_stays
    what_is_collected_stays_until_it_is_taken
    claims_are_made_together_or_not_at_all
    the_same_claim_counts_once
    settlements_count_once_and_never_fall_below_nothing
    places_are_as_many_as_they_are
    a_place_is_free_when_its_time_is_over
    usage_adds_up_and_a_batch_counts_once
    lines_come_in_the_order_of_time
    many_lines_are_found_from_any_time_on
    what_is_old_is_swept_away
}
