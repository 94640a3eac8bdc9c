"""Train on the iris data and propose what was trained: `python flow.py run`."""

from metaflow import FlowSpec, Parameter, card, step
from predictor import IrisPredictor

import gitops_ml as gml

SPEC = {
    "name": "iris-flow",
    "kind": "RealtimeAPI",
    "compute": {"cpu": "200m", "mem": "512Mi"},
    "autoscaling": {"min_replicas": 1, "max_replicas": 5, "target_in_flight": 8},
    "monitoring": {"model_type": "classification", "key": "label"},
}


class IrisFlow(FlowSpec):
    environment = Parameter("to", help="The environment to propose it to.", default="staging")
    regularization = Parameter("c", help="The smaller, the simpler the model.", default=1.0)

    @step
    def start(self):
        from sklearn.datasets import load_iris
        from sklearn.model_selection import train_test_split

        measurements, species = load_iris(return_X_y=True)
        self.data = train_test_split(measurements, species, random_state=0, stratify=species)
        self.next(self.train)

    @step
    def train(self):
        from sklearn.linear_model import LogisticRegression

        x, x_test, y, y_test = self.data
        self.model = LogisticRegression(C=self.regularization, max_iter=1000).fit(x, y)
        self.accuracy = self.model.score(x_test, y_test)
        self.next(self.end)

    @card
    @step
    def end(self):
        if self.accuracy < 0.9:
            raise ValueError(f"an accuracy of {self.accuracy:.2f} is too low to be deployed")
        api = gml.deploy_from_flow(
            self,
            SPEC,
            IrisPredictor,
            env=self.environment,
            why=f"Accuracy on data that it was not trained on: {self.accuracy:.2f}",
        )
        self.deployment_id = api.deployment_id
        print(f"{api.summary}: {api.deployment_id}")


if __name__ == "__main__":
    IrisFlow()
