"""Log-in at providers that speak OAuth2."""

from buildbot.config.errors import error
from buildbot.www.auth import AuthBase
from muster_host.www_auth import refuse_subclass


class OAuth2Auth(AuthBase):
    """What all providers have."""

    name = "oauth2"
    faIcon = "not-defined"
    authUri = None
    tokenUri = None
    resourceEndpoint = ""
    authUriAdditionalParams = {}
    provider = None

    def __init__(self, clientId, clientSecret, autologin=False, ssl_verify=True, **kwargs):
        super().__init__(**kwargs)
        self.clientId, self.clientSecret = clientId, clientSecret
        self.autologin, self.ssl_verify = autologin, ssl_verify

    def getConfigDict(self):
        return {"name": self.name, "oauth2": True, "fa_icon": self.faIcon, "autologin": self.autologin}

    def _method(self, encode):
        if not self.ssl_verify:
            error(
                f"{type(self).__name__}: ssl_verify=False is not supported by Muster; name the certificate authority of the "
                "provider in the variable SSL_CERT_FILE instead"
            )
        for what in ("authUri", "tokenUri", "resourceEndpoint"):
            uri = getattr(self, what)
            if not isinstance(uri, str) or not uri.startswith(("https://", "http://")):
                error(f"{type(self).__name__}: {what} must be an address that begins with https://, not {uri!r}")
        return {
            "kind": "oauth",
            "provider": self.provider,
            "fa_icon": self.faIcon,
            "autologin": bool(self.autologin),
            "client_id": encode.at("auth", "clientId")(self.clientId),
            "client_secret": encode.at("auth", "clientSecret")(self.clientSecret),
            "auth_uri": self.authUri or "",
            "token_uri": self.tokenUri or "",
            "resource": self.resourceEndpoint.rstrip("/"),
            "scope": dict(self.authUriAdditionalParams).get("scope"),
            **self._more(),
        }

    def _more(self):
        return {}


class GoogleAuth(OAuth2Auth):
    """Google."""

    name = "Google"
    faIcon = "fa-google-plus"
    provider = "google"
    resourceEndpoint = "https://www.googleapis.com/oauth2/v1"
    authUri = "https://accounts.google.com/o/oauth2/auth"
    tokenUri = "https://accounts.google.com/o/oauth2/token"
    authUriAdditionalParams = {
        "scope": "https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile"
    }


class GitHubAuth(OAuth2Auth):
    """GitHub, and its enterprise servers."""

    name = "GitHub"
    faIcon = "fa-github"
    provider = "github"
    authUri = "https://github.com/login/oauth/authorize"
    tokenUri = "https://github.com/login/oauth/access_token"
    resourceEndpoint = "https://api.github.com"
    authUriAdditionalParams = {"scope": "user:email read:org"}

    def __init__(
        self,
        clientId,
        clientSecret,
        serverURL=None,
        autologin=False,
        apiVersion=3,
        getTeamsMembership=False,
        debug=False,
        **kwargs,
    ):
        super().__init__(clientId, clientSecret, autologin, **kwargs)
        self.apiResourceEndpoint = None
        if serverURL is not None:
            server = serverURL.rstrip("/")
            self.authUri = f"{server}/login/oauth/authorize"
            self.tokenUri = f"{server}/login/oauth/access_token"
            self.resourceEndpoint = f"{server}/api/v3"
            self.apiResourceEndpoint = f"{server}/api/graphql"
        if apiVersion not in (3, 4):
            error(f"GitHubAuth apiVersion must be 3 or 4 not {apiVersion}")
        if getTeamsMembership and apiVersion == 3:
            error("Retrieving team membership information using GitHubAuth is only possible using GitHub api v4.")
        self.apiVersion, self.getTeamsMembership, self.debug = apiVersion, getTeamsMembership, debug
        if apiVersion == 4:
            self.resourceEndpoint = self.apiResourceEndpoint or f"{self.resourceEndpoint}/graphql"

    def _more(self):
        return {"api_version": self.apiVersion if self.apiVersion in (3, 4) else 3, "teams": bool(self.getTeamsMembership)}


class GitLabAuth(OAuth2Auth):
    """GitLab."""

    name = "GitLab"
    faIcon = "fa-git"
    provider = "gitlab"

    def __init__(self, instanceUri, clientId, clientSecret, **kwargs):
        uri = instanceUri.rstrip("/")
        self.authUri, self.tokenUri, self.resourceEndpoint = f"{uri}/oauth/authorize", f"{uri}/oauth/token", f"{uri}/api/v4"
        super().__init__(clientId, clientSecret, **kwargs)


class BitbucketAuth(OAuth2Auth):
    """Bitbucket."""

    name = "Bitbucket"
    faIcon = "fa-bitbucket"
    provider = "bitbucket"
    authUri = "https://bitbucket.org/site/oauth2/authorize"
    tokenUri = "https://bitbucket.org/site/oauth2/access_token"
    resourceEndpoint = "https://api.bitbucket.org/2.0"


_STOCK = {GoogleAuth: (), GitHubAuth: (), GitLabAuth: (), BitbucketAuth: ()}


def check(auth):
    """Refuses subclasses whose methods nobody would ask."""
    refuse_subclass(auth, _STOCK, "c['www']['auth']")
