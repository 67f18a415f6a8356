use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    super::testing::{Service, cleaned, errand, job},
    *,
};

fn spawn(janitor: &'static Janitor, client: &Client, errands: Vec<Errand>) {
    janitor.spawn(
        client.clone(),
        "test".to_owned(),
        errands,
        Vec::new(),
        false,
    );
}

#[actix_web::test]
async fn errands_go_one_after_the_other() {
    let (service, job) = (Service::new(&[200, 404, 200]), job(&[]));
    let errands = ["one", "two", "three"].map(|path| errand(&service, "DELETE", path));
    spawn(job.janitor, &job.client, errands.into());
    assert_eq!(job.janitor.pending(), 1);
    cleaned(job.janitor).await;
    // What is not there (any more) is not deleted again.
    assert_eq!(
        service.calls(),
        ["DELETE /one", "DELETE /two", "DELETE /three"]
    );
}

/// A conversation that is kept after all is not deleted; one that is not, is.
#[actix_web::test]
async fn an_errand_waits_until_it_is_known_whether_it_is_off() {
    let (service, job) = (Service::new(&[200]), job(&[]));
    let errands = [("kept", true), ("lost", false)].map(|(path, is_off)| {
        let known = async move {
            tokio::task::yield_now().await;
            is_off
        };
        errand(&service, "DELETE", path).unless(Box::pin(known))
    });
    spawn(job.janitor, &job.client, errands.into());
    cleaned(job.janitor).await;
    assert_eq!(service.calls(), ["DELETE /lost"]);
}

#[actix_web::test]
async fn what_the_service_cannot_do_now_is_tried_again() {
    let (service, job) = (Service::new(&[503, 200]), job(&[]));
    spawn(
        job.janitor,
        &job.client,
        vec![errand(&service, "POST", "x")],
    );
    cleaned(job.janitor).await;
    assert_eq!(service.calls(), ["POST /x", "POST /x"]);
}

/// A credential that was refused is not shown again; its successor is.
#[actix_web::test]
async fn a_refused_errand_waits_for_another_credential() {
    for is_renewed in [true, false] {
        let (service, job) = (Service::new(&[401, 200]), job(&[]));
        let url = format!("{}/x", service.base_url);
        let built = Rc::new(Cell::new(0));
        let count = Rc::clone(&built);
        let errand = Errand::new(move || {
            let number = if is_renewed { count.get() } else { 0 };
            count.set(count.get() + 1);
            Request::get("test", url.as_str()).header("authorization", format!("t{number}"))
        });
        spawn(job.janitor, &job.client, vec![errand]);
        cleaned(job.janitor).await;
        let expected: &[&str] = if is_renewed {
            &["GET /x t0", "GET /x t1"]
        } else {
            &["GET /x t0"]
        };
        assert_eq!(service.calls(), expected);
        assert_eq!(built.get(), 2);
    }
}

#[actix_web::test]
async fn another_call_follows_where_the_first_is_not_done() {
    for is_done in [true, false] {
        let (service, job) = (Service::new(&[200]), job(&[]));
        let other = Request::get("test", format!("{}/other", service.base_url));
        let judge: fn(u16, &[u8]) -> bool = if is_done {
            |status, body| status == 200 && body == b"x"
        } else {
            |_, _| false
        };
        spawn(
            job.janitor,
            &job.client,
            vec![errand(&service, "POST", "batch").or(judge, other)],
        );
        cleaned(job.janitor).await;
        let expected: &[&str] = if is_done {
            &["POST /batch"]
        } else {
            &["POST /batch", "GET /other"]
        };
        assert_eq!(service.calls(), expected);
    }
}

/// Says when it is dropped.
struct Guard(Rc<RefCell<Vec<usize>>>, Rc<dyn Fn() -> usize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.borrow_mut().push((self.1)());
    }
}

#[actix_web::test]
async fn guards_are_let_go_after_the_last_errand() {
    let (service, job) = (Rc::new(Service::new(&[200])), job(&[]));
    let (drops, heard) = (Rc::default(), Rc::clone(&service));
    let guard = Guard(Rc::clone(&drops), Rc::new(move || heard.calls().len()));
    let errands = ["one", "two"].map(|path| errand(&service, "DELETE", path));
    let held = vec![Held::of(guard)];
    job.janitor.spawn(
        job.client.clone(),
        "test".to_owned(),
        errands.into(),
        held,
        true,
    );
    cleaned(job.janitor).await;
    assert_eq!(*drops.borrow(), [2]);
}
