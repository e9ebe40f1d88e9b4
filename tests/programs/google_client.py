"""What a program with google-auth sees of the metadata server: one JSON line."""
import json

import google.auth
import google.auth.transport.requests
import google.oauth2.id_token

request = google.auth.transport.requests.Request()
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
credentials.refresh(request)
print(json.dumps({
    "accessToken": credentials.token,
    "projectId": project,
    "email": credentials.service_account_email,
    "idToken": google.oauth2.id_token.fetch_id_token(request, "https://api.example"),
}))
