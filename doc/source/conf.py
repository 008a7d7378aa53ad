#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

project = 'pci_filter'
copyright = '2026, pci_filter developers'

extensions = [
    'cliff.sphinxext',
    'openstackdocstheme',
    'oslo_config.sphinxext',
]

root_doc = 'index'
exclude_patterns = []
html_theme = 'openstackdocs'
html_use_index = False
pygments_style = 'native'

openstackdocs_pdf_link = False
openstackdocs_auto_name = False
openstackdocs_auto_version = False
