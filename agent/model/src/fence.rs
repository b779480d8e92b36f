//! What the network lets an app's processes reach, and who may reach them. All dynos share the host's network.

use serde::{Deserialize, Serialize};

/// The fence of one app. The default is what every app gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The instance's metadata service (169.254.169.254, fd00:ec2::254) may be reached. It gives out the credentials of
    /// the instance's role, so it may not unless somebody says so.
    #[serde(default)]
    pub imds: bool,
    /// Only the router, root and the app itself may connect to the ports of its dynos.
    #[serde(default)]
    pub private: bool,
}

/// `GET /hokku/apps/:app/isolation`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceView {
    /// As it was asked for.
    #[serde(flatten)]
    pub fence: Fence,
    /// Why the host can't hold it; `None` when it does.
    pub missing: Option<String>,
}

/// `PATCH /hokku/apps/:app/isolation`; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FencePatch {
    /// See [`Fence::imds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imds: Option<bool>,
    /// See [`Fence::private`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
}
