"""The playground: base and tuned side by side in a browser. Run it from the tree: python -m app RUN."""

import os

# Read by gradio when it is imported: nothing is reported to anybody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
