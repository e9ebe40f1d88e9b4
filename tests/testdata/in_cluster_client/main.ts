/** An unmodified in-cluster client: what the JS client library sees when it believes to be in a Pod. */
import { AuthenticationV1Api, CoreV1Api, KubeConfig } from "@kubernetes/client-node";

const config = new KubeConfig();
config.loadFromDefault();
const review = await config.makeApiClient(AuthenticationV1Api).createSelfSubjectReview({ body: {} });
const namespace = config.getContextObject(config.getCurrentContext())?.namespace;
const secret = await config.makeApiClient(CoreV1Api).readNamespacedSecret({ name: "db", namespace: "shop" })
  .then(() => "allowed", (error) => `refused ${error.code}`);
console.log(JSON.stringify({ user: review.status?.userInfo?.username, namespace, secret }));
