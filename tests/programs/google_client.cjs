// What a program with google-auth-library sees of the metadata server: one JSON line.
const { GoogleAuth } = require("google-auth-library");

(async () => {
  const auth = new GoogleAuth({ scopes: "https://www.googleapis.com/auth/cloud-platform" });
  const [accessToken, projectId, { client_email: email }, client] = await Promise.all([
    auth.getAccessToken(),
    auth.getProjectId(),
    auth.getCredentials(),
    auth.getIdTokenClient("https://api.example"),
  ]);
  const headers = await client.getRequestHeaders();
  const idToken = headers.get("authorization").slice("Bearer ".length);
  console.log(JSON.stringify({ accessToken, projectId, email, idToken }));
})();
