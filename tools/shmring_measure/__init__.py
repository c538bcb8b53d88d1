"""`shmring measure`: the live chart, the report and the picture of a measurement. `picture` needs
matplotlib (``pip install "shmring[plot]"``)."""
