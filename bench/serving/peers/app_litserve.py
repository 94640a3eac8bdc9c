import sys

import litserve as ls
import model


class A(ls.LitAPI):
    def setup(self, device):
        pass

    def predict(self, request):
        return {"predictions": model.predict(request["instances"])}


if __name__ == "__main__":
    ls.LitServer(A(), accelerator="cpu", workers_per_device=1, timeout=60).run(
        port=int(sys.argv[1]), generate_client_file=False
    )
