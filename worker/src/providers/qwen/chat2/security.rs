//! Tokens and salts of one account: registered once, refreshed before they run out, kept in memory. A salt is handed
//! out once. One registration at a time, however many turns wait for it. Source: `wire/qwen.md` sections 11.3, 11.4.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::{Contact, sign::Pass, wire};
use crate::{
    accounts::Secret,
    chat::{Kind, ProviderError},
    providers::qwen::{
        account::Account,
        generation::{Failure, is_page},
    },
};

/// So few salts, or so little time, are a reason to refresh.
const FEW_SALTS: usize = 20;
const MARGIN_SECONDS: u64 = 30 * 60;
/// The longest wait after refusals: 1, 2, 4 … 60 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Which service a request goes to, and so which token and salts sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// Questions.
    Chat,
    /// Pictures.
    Workspace,
}

impl Scene {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "qwen_chat",
            Self::Workspace => "workspace_api",
        }
    }
}

/// A token, until when it holds (Unix seconds), and the salts that are left.
struct Grant {
    token: Secret,
    deadline: u64,
    salts: Vec<Secret>,
}

impl Grant {
    fn is_usable(&self, now: u64) -> bool {
        now < self.deadline && !self.salts.is_empty()
    }

    fn is_low(&self, now: u64) -> bool {
        self.salts.len() <= FEW_SALTS || self.deadline < now + MARGIN_SECONDS
    }
}

/// Everything that registering brings.
struct Material {
    device: String,
    version: String,
    base: Grant,
    scenes: Vec<(String, Grant)>,
    /// The workspace's scene was asked for.
    has_workspace: bool,
    /// The service's clock less ours, in milliseconds.
    skew: i64,
}

impl Material {
    /// The scene's own grant, else the base one (section 11.4).
    fn grant(&mut self, scene: Scene) -> &mut Grant {
        let named = self
            .scenes
            .iter_mut()
            .find(|(name, _)| name == scene.name());
        named.map_or(&mut self.base, |(_, grant)| grant)
    }
}

/// The answer to `register` and `refresh`.
#[derive(Deserialize)]
struct Reply {
    status: Option<i64>,
    #[serde(default)]
    msg: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "eo-clt-dvidn")]
    device: Option<String>,
    #[serde(rename = "eo-clt-snver")]
    version: Option<String>,
    #[serde(flatten)]
    base: Granted,
    #[serde(rename = "unifyRelate")]
    scenes: Option<Vec<SceneGranted>>,
}

#[derive(Deserialize)]
struct SceneGranted {
    #[serde(rename = "businessScene")]
    name: String,
    #[serde(flatten)]
    granted: Granted,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "eo-clt-actkn")]
    token: Option<String>,
    #[serde(rename = "eo-clt-actkn-dl")]
    deadline: Option<u64>,
    #[serde(rename = "eo-clt-bacsft")]
    salts: Option<Vec<String>>,
}

impl Granted {
    fn into_grant(self) -> Option<Grant> {
        Some(Grant {
            // An empty token would be sent, and refused in words.
            token: Secret::new(self.token.filter(|token| !token.is_empty())?),
            deadline: self.deadline?,
            salts: self.salts?.into_iter().map(Secret::new).collect(),
        })
    }
}

/// What an account has of the security service. Cheap to make: nothing is asked before the first question.
#[derive(Default)]
pub(in crate::providers::qwen) struct Keyring {
    state: Mutex<State>,
    /// Held by the one registration or refresh that is under way. Apart from `state`, which is never held across an
    /// await.
    turnstile: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    material: Option<Material>,
    /// Pictures have been uploaded: registrations ask for the workspace's scene as well.
    wants_workspace: bool,
    registering: Pause,
    refreshing: Pause,
}

/// The wait after calls that failed.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<(Instant, ProviderError)>,
}

impl Pause {
    fn has_failed(&mut self, error: &ProviderError) {
        // 2^6 = 64, above the longest pause: the shift stays small however often it fails.
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.until = Some((Instant::now() + pause, error.clone()));
    }

    /// The error of the last call, while another one is too soon.
    fn error(&self) -> Option<ProviderError> {
        let (until, error) = self.until.as_ref()?;
        // `None` when the pause is over: then another call may be made.
        let left = until.checked_duration_since(Instant::now())?;
        Some(error.clone().with_retry_after(Some(left)))
    }
}

/// What is at hand for a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Supply {
    Ample,
    Low,
    None,
}

impl Keyring {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves these plain values in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next question registers anew if `is_bad` says so; nobody asks it where that has been done since this device was
    /// registered. Whether this call has brought it about.
    pub(super) fn forget(&self, device: &str, is_bad: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        // The device names the registration: one that was made since is not at fault.
        let is_current = |it: &Material| it.device == device;
        let is_forgotten = state.material.as_ref().is_some_and(is_current) && is_bad();
        if is_forgotten {
            state.material = None;
        }
        is_forgotten
    }

    /// The grant of a scene that can be used, with the material around it and the service's time.
    fn grant<T>(
        &self,
        scene: Scene,
        now_ms: u64,
        read: impl FnOnce(&mut Grant, &str, &str, u64) -> T,
    ) -> Option<T> {
        let mut state = self.state();
        // Remembered before anything is at hand: the next registration asks for it too.
        state.wants_workspace |= scene == Scene::Workspace;
        let material = state.material.as_mut()?;
        // Section 11.4: a missing scene falls back to the base, but this one was not asked for yet.
        if scene == Scene::Workspace && !material.has_workspace {
            return None;
        }
        // Deadlines are the service's time, as the answers are.
        let time = now_ms.saturating_add_signed(material.skew);
        // Cloned before the grant is borrowed out of the same material.
        let (device, version) = (material.device.clone(), material.version.clone());
        let grant = material.grant(scene);
        grant
            .is_usable(time / 1000)
            .then(|| read(grant, &device, &version, time))
    }

    fn supply(&self, scene: Scene, now_ms: u64) -> Supply {
        let is_low = self.grant(scene, now_ms, |grant, _, _, time| grant.is_low(time / 1000));
        match is_low {
            Some(false) => Supply::Ample,
            Some(true) => Supply::Low,
            None => Supply::None,
        }
    }

    /// A pass and the service's time.
    fn take(&self, scene: Scene, now_ms: u64) -> Option<(Pass, u64)> {
        let taken = self.grant(scene, now_ms, |grant, device, version, time| {
            let pass = Pass {
                device: device.to_owned(),
                version: version.to_owned(),
                token: grant.token.clone(),
                // From the back: which one is taken does not matter, only that it is gone.
                salt: grant.salts.pop()?,
            };
            Some((pass, time))
        });
        taken.flatten()
    }

    fn put(&self, mut read: Material, refreshed: bool) {
        let mut state = self.state();
        // A call has been answered: what failed before is no reason to wait.
        state.registering = Pause::default();
        state.refreshing = Pause::default();
        match &mut state.material {
            // A refresh replaces what it names (section 11.4).
            Some(known) if refreshed => {
                known.device = read.device;
                known.version = read.version;
                known.base = read.base;
                for (name, grant) in read.scenes.drain(..) {
                    known.scenes.retain(|(known, _)| *known != name);
                    known.scenes.push((name, grant));
                }
            }
            // Forgotten while it was under way: what it has refreshed is what was refused.
            None if refreshed => {}
            material => *material = Some(read),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// What signs the next request, and the service's time in milliseconds. Refreshes what runs low, registers when nothing
/// is at hand.
///
/// # Errors
/// Why there is none; absent when the security service is not there.
pub(super) async fn pass(
    contact: &Contact,
    account: &Account,
    scene: Scene,
    now_ms: u64,
) -> Result<(Pass, u64), Failure> {
    let keyring = &account.standing.keyring;
    // Refreshing names the chat's scene only; the workspace's ends in another registration.
    // Another scene has salts of its own, and refreshing does not name it.
    if scene == Scene::Chat
        && keyring.supply(scene, now_ms) == Supply::Low
        // While a refresh has just failed the salts that are left are used, not asked for again.
        && keyring.state().refreshing.error().is_none()
        // Not waited for: what is left of the salts is what this turn uses meanwhile.
        && let Ok(guard) = Arc::clone(&keyring.turnstile).try_lock_owned()
    {
        // One refresh at a time, and nobody else waits for it. What fails leaves the salts that there are.
        apart(guard, refresh(contact.clone(), account.clone())).await;
    }
    // Before the lock: nearly every question finds something.
    if let Some(taken) = keyring.take(scene, now_ms) {
        return Ok(taken);
    }
    // Registering is: there is nothing to ask with.
    let guard = Arc::clone(&keyring.turnstile).lock_owned().await;
    if let Some(taken) = keyring.take(scene, now_ms) {
        return Ok(taken);
    }
    // After the lock: whoever waited here need not fail the same way once more.
    if let Some(error) = keyring.state().registering.error() {
        return Err(Failure::Told(error));
    }
    let registering = register(contact.clone(), account.clone(), now_ms);
    // A panic in the task is the only way it could be gone.
    apart(guard, registering).await.unwrap_or_else(|| {
        let error = unavailable("the call was interrupted");
        Err(Failure::Told(error))
    })?;
    let taken = keyring.take(scene, now_ms);
    // Registered, and still nothing: the deadline has passed, by their clock or by ours.
    taken.ok_or_else(|| unavailable("its tokens are over already").into())
}

/// In a task of its own: what the call brings serves others, even if this client leaves.
async fn apart<T: 'static>(
    guard: OwnedMutexGuard<()>,
    call: impl Future<Output = T> + 'static,
) -> Option<T> {
    // Spawned: the turn may end here, while the others still wait for what it brings.
    let task = actix_web::rt::spawn(async move {
        let result = call.await;
        drop(guard);
        result
    });
    task.await.ok()
}

async fn register(contact: Contact, account: Account, now_ms: u64) -> Result<(), Failure> {
    let keyring = &account.standing.keyring;
    let registered = registered(&contact, &account, now_ms).await;
    match registered {
        Ok(material) => keyring.put(material, false),
        Err(Failure::Told(error)) => {
            keyring.state().registering.has_failed(&error);
            return Err(Failure::Told(error));
        }
        Err(absent) => return Err(absent),
    }
    Ok(())
}

async fn registered(
    contact: &Contact,
    account: &Account,
    now_ms: u64,
) -> Result<Material, Failure> {
    let client = contact.client(account);
    // Read once: between the two uses a turn might have asked for pictures.
    let has_workspace = account.standing.keyring.state().wants_workspace;
    let chid = Uuid::new_v4().simple().to_string();
    let body = ask(contact, wire::register(client, &chid, has_workspace)).await?;
    let mut material = read(&body)?;
    material.has_workspace = has_workspace;
    // Optional: without it our own clock must do (section 11.2).
    // Best effort: without it our own clock is used, which is nearly always right.
    if let Ok(mut answer) = contact.messenger.send(wire::time(client, now_ms)).await
        && let Ok(body) = answer.short().await
        && let Some(theirs) = wire::millis(&body)
    {
        material.skew = theirs.cast_signed().saturating_sub(now_ms.cast_signed());
    }
    Ok(material)
}

async fn refresh(contact: Contact, account: Account) {
    let keyring = &account.standing.keyring;
    // Cloned out: the lock is not held over the call.
    let known = keyring
        .state()
        .material
        .as_ref()
        .map(|material| (material.device.clone(), material.base.token.clone()));
    let Some((device, token)) = known else {
        return;
    };
    let chid = Uuid::new_v4().simple().to_string();
    let request = wire::refresh(contact.client(&account), &chid, &device, &token);
    let refreshed = match ask(&contact, request).await {
        Ok(body) => read(&body).map_err(Failure::Told),
        Err(failure) => Err(failure),
    };
    match refreshed {
        Ok(material) => keyring.put(material, true),
        Err(failure) => keyring.state().refreshing.has_failed(&failure.into_error()),
    }
}

async fn ask(
    contact: &Contact,
    request: crate::upstream::Request,
) -> Result<bytes::Bytes, Failure> {
    let mut answer = contact.messenger.send(request).await?;
    let (status, content_type) = (answer.status.as_u16(), answer.content_type());
    let body = answer.short().await?;
    let is_page = is_page(&content_type, &body);
    if status != 200 || is_page {
        // A page under 200 means that the service is gone, not that it is wrong (section 1).
        let error = unavailable(&format!("it answered with HTTP {status}"));
        return Err(Failure::judged(status, is_page, error));
    }
    Ok(body)
}

/// The form of both answers; without salts it is a refusal.
fn read(body: &[u8]) -> Result<Material, ProviderError> {
    let answer: Reply =
        serde_json::from_slice(body).map_err(|_| unavailable("it could not be understood"))?;
    if answer.status.is_some_and(|status| status != 0) {
        let what = answer.msg.unwrap_or_default();
        return Err(unavailable("it refused").saying(&what));
    }
    let material = answer.data.and_then(|data| {
        let scenes = data.scenes.into_iter().flatten();
        let scenes: Vec<_> = scenes
            // A scene without its three parts is none; the base stands for it.
            .filter_map(|scene| Some((scene.name, scene.granted.into_grant()?)))
            .collect();
        Some(Material {
            device: data.device?,
            version: data.version.unwrap_or_default(),
            base: data.base.into_grant()?,
            scenes,
            has_workspace: false,
            skew: 0,
        })
    });
    material
        .filter(|material| {
            let chat = Scene::Chat.name();
            let named = material.scenes.iter().find(|(name, _)| name == chat);
            let grant = named.map_or(&material.base, |(_, grant)| grant);
            // Without salts nothing can be signed, so the answer is no better than a refusal.
            !grant.salts.is_empty()
        })
        .ok_or_else(|| unavailable("it gave no salts"))
}

fn unavailable(why: &str) -> ProviderError {
    let message = format!("the service that signs questions cannot be used: {why}");
    ProviderError::new(Kind::Unavailable, message).with_code("upstream_signing_unavailable")
}

#[cfg(test)]
#[path = "security_tests.rs"]
mod tests;
